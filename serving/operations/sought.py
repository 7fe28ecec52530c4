"""Photos whose faces are sought: all in a folder, or those in the results of a job over a bucket in
which a face has no name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.errors import InvalidInput
from serving.gallery.store import NotFound
from serving.operations.batch.formats import JSON_LINES
from serving.operations.batch.job import JOB, SUMMARY, Folder, Place
from serving.operations.batch.photos import entries
from serving.operations.folders import folders_in, photos_in
from serving.operations.outcomes import UNKNOWN, outcome_of
from serving.reading.strict import load_json

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Sought:
    """A photo to look at.

    Attributes:
        name: its key or its path below the folder.
        read: reads it; raises ServingError or OSError, and NotFound when it is gone.
        boxes: of the faces that are wanted; None: all.
        model: the id of the model that was asked before; None: none was.
    """

    name: str
    read: Callable[[], bytes]
    boxes: Sequence[Box] | None = None
    model: str | None = None


def in_folder(folder: Path) -> Iterator[Sought]:
    """All photos in a folder and in the folders below."""
    folder = folder.resolve()

    def below(inner: Path) -> Iterator[Path]:
        yield from photos_in(inner)
        for deeper in folders_in(inner):
            if not deeper.is_symlink():  # it may lead back
                yield from below(deeper)

    for path in below(folder):
        yield Sought(str(path.relative_to(folder)), path.read_bytes)


def source_of(results: Place) -> Folder:
    """Where the photos of a finished job are.

    Raises:
        InvalidInput: there are no such results, or they are not finished or not JSON Lines.
    """
    try:
        job = load_json(results.store.get(results.folder.key(JOB)).data.decode())
        format_, source = job["format"], Folder.parse(job["source"])
    except NotFound:
        raise InvalidInput(f"{results.folder} holds no results of faces batch.") from None
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(f"{results.folder}{JOB} is no job of faces batch.") from None
    if format_ != JSON_LINES:
        raise InvalidInput(
            f"The results in {results.folder} are {format_}; run faces batch with --format "
            f"{JSON_LINES} and another --out."
        )
    try:
        results.store.get(results.folder.key(SUMMARY))
    except NotFound:
        raise InvalidInput(f"The job in {results.folder} is not finished; go on with it.") from None
    return source


def in_results(results: Place, source: Place) -> Iterator[Sought]:
    """The photos in which a face has no name, as the results in JSON Lines have them."""
    for entry in entries(results.store, results.folder.key("part-")):
        for text in results.store.get(entry.key).data.splitlines():
            line = json.loads(text)
            faces = line.get("faces", ())  # or it has an error
            if boxes := [face["box"] for face in faces if outcome_of(face) == UNKNOWN]:
                key, etag = line["photo"], line["etag"]
                yield Sought(key, _reader(source, key, etag), boxes, line["model"])


def _reader(source: Place, key: str, etag: str) -> Callable[[], bytes]:
    def read() -> bytes:
        found = source.store.get(key)
        if found.etag.strip('"') != etag:  # results have it without the quotes
            raise NotFound(key)  # what was looked up is gone
        return found.data

    return read
