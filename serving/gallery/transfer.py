"""Import and export of a gallery's people, all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidInput, ModelMismatch
from serving.gallery.gallery import Gallery
from serving.gallery.interchange import ROWS_AT_ONCE, Pair, write_export
from serving.gallery.records import telling
from serving.gallery.segment import Kind, Segment

# Beside the files of the people, in an export into a folder.
PAIRS_FILE = "distinct.safetensors"


class Source(Protocol):
    """A source of people, such as an `interchange.ExportFile`.

    ``model`` is the id of the model that made the embeddings; ``ids`` int64 (N,); ``distinct`` are
    pairs of people, see `interchange`.
    """

    @property
    def model(self) -> str: ...
    @property
    def ids(self) -> NDArray[np.int64]: ...
    @property
    def distinct(self) -> Sequence[Pair]: ...

    def segments(self, kind: Kind, time: float) -> Iterator[Segment]:
        """All people, in parts, with ``time`` where the source has none. Raises InvalidInput."""


def import_people(
    gallery: Gallery,
    model: str,
    sources: Sequence[Source],
    *,
    append: bool = False,
    imported: Callable[[int], None] = lambda people: None,
    rows_at_once: int = ROWS_AT_ONCE,
) -> int:
    """Put all people into the gallery, in bulk segments: all of them or, on an error, none.

    Args:
        model: the model of the gallery.
        append: add to the photos that a person already has, instead of replacing them.
        imported: called with the number of people in each part that is in the store; they count
            only once this function returns.
        rows_at_once: embeddings in one segment.

    Returns:
        The gallery's version that contains them.

    Raises:
        ModelMismatch: they are embeddings of another model.
        InvalidInput: an id comes twice, or an embedding does not fit the gallery.
    """
    for source in sources:
        if source.model != model:
            raise ModelMismatch(
                f"The file holds embeddings of {source.model}, but the gallery is of {model}: the "
                "two cannot be compared."
            )
    ids, times = np.unique(np.concatenate([s.ids for s in sources]), return_counts=True)
    if (times > 1).any():
        raise InvalidInput(f"The id {ids[times > 1][0]} comes more than once.")
    kind, now = Kind.APPEND if append else Kind.PUT, gallery.now()

    def parts() -> Iterator[Segment]:
        for source in sources:
            for part in source.segments(kind, now):
                if part.dimension != gallery.dimension:
                    raise InvalidInput(
                        f"The embeddings of {part.id[0]} have {part.dimension} numbers, and those "
                        f"of {model} have {gallery.dimension}. Nothing was imported."
                    )
                yield part
        # After all people: a pair is of two who are enrolled.
        if pairs := [pair for source in sources for pair in source.distinct]:
            yield Segment.of([telling(*pair, now) for pair in pairs], gallery.dimension)

    def segments() -> Iterator[Segment]:
        return _joined(parts(), rows_at_once)

    try:
        return gallery.commit_segments(segments, lambda segment: imported(_people(segment)))
    except ValueError as error:
        raise InvalidInput(f"This cannot be imported: {error}.") from error


def export_file(gallery: Gallery, model: str, path: Path) -> tuple[int, int]:
    """Write all people into one file; returns the number of people and the gallery's version."""
    version, segments = gallery.everybody()
    everybody = list(segments)
    write_export(path, model, gallery.dimension, everybody)
    return sum(map(_people, everybody)), version


def export_folder(
    gallery: Gallery, model: str, folder: Path, exported: Callable[[int], None]
) -> tuple[int, int]:
    """Write one file a person, ``<id>.safetensors``, and `PAIRS_FILE` where people are known not to
    be one person; returns as `export_file`.

    Args:
        exported: called with the number of people written since the last call.

    Raises:
        InvalidInput: the folder holds an export. Files of people who were forgotten since would
            stay, and an import of the folder would bring them back.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob("*.safetensors")):
        raise InvalidInput(
            f"{folder} holds .safetensors files, and an import would read them too; export into "
            "an empty folder."
        )
    version, segments = gallery.everybody()
    people = 0
    pairs: list[Segment] = []
    for segment in segments:
        for n, person in enumerate(segment.id.tolist()):
            if segment.kind[n] != Kind.PUT:
                continue
            keep = np.arange(len(segment)) == n
            path = folder / f"{person}.safetensors"
            write_export(path, model, gallery.dimension, [segment.select(keep)])
            exported(1)
        people += _people(segment)
        pairs.append(segment.select(segment.kind == Kind.DISTINCT))
    if any(map(len, pairs)):
        write_export(folder / PAIRS_FILE, model, gallery.dimension, pairs)
    return people, version


def _people(segment: Segment) -> int:
    return int((segment.kind != Kind.DISTINCT).sum())


def _joined(parts: Iterator[Segment], rows_at_once: int) -> Iterator[Segment]:
    """Small segments together, so that many small files do not become many small objects."""
    held: list[Segment] = []
    rows = 0
    for part in parts:
        if held and rows + len(part.embeddings) > rows_at_once:
            yield Segment.joined(held)
            held, rows = [], 0
        held.append(part)
        rows += len(part.embeddings)
    if held:
        yield Segment.joined(held)
