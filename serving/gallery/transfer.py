"""Moving people into a gallery and out of it, all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidInput, ModelMismatch
from serving.gallery.gallery import Gallery
from serving.gallery.interchange import ROWS_AT_ONCE, write_export
from serving.gallery.segment import Kind, Segment


class Source(Protocol):
    """Where people come from, such as an `interchange.ExportFile`.

    ``model`` is the id of the model that made the embeddings; ``ids`` int64 (N,).
    """

    @property
    def model(self) -> str: ...
    @property
    def ids(self) -> NDArray[np.int64]: ...

    def segments(self, kind: Kind, time: float) -> Iterator[Segment]:
        """Everybody, in parts, with ``time`` where none is known. Raises InvalidInput."""


def import_people(
    gallery: Gallery,
    model: str,
    sources: Sequence[Source],
    *,
    append: bool = False,
    imported: Callable[[int], None] = lambda people: None,
) -> int:
    """Put everybody into the gallery, in bulk segments: all of them or, on an error, nobody.

    Args:
        model: the model of the gallery.
        append: add to the photos that somebody has already, instead of replacing them.
        imported: is told of people who are in the store; they count when this returns.

    Returns:
        The gallery's version that contains them.

    Raises:
        ModelMismatch: they are embeddings of another model.
        InvalidInput: an id comes twice, or an embedding is none of the gallery's.
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

    def segments() -> Iterator[Segment]:
        return _joined(part for source in sources for part in source.segments(kind, now))

    try:
        return gallery.commit_segments(segments, lambda segment: imported(len(segment)))
    except ValueError as error:
        raise InvalidInput(f"This cannot be imported: {error}.") from error


def export_file(gallery: Gallery, model: str, path: Path) -> tuple[int, int]:
    """Write everybody into one file; returns the number of people and the gallery's version."""
    version, segments = gallery.everybody()
    everybody = list(segments)
    write_export(path, model, gallery.dimension, everybody)
    return sum(map(len, everybody)), version


def export_folder(
    gallery: Gallery, model: str, folder: Path, exported: Callable[[int], None]
) -> tuple[int, int]:
    """Write one file a person, ``<id>.safetensors``; returns as `export_file`.

    Args:
        exported: is told of how many more people are written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    version, segments = gallery.everybody()
    people = 0
    for segment in segments:
        for n, person in enumerate(segment.id.tolist()):
            keep = np.arange(len(segment)) == n
            path = folder / f"{person}.safetensors"
            write_export(path, model, gallery.dimension, [segment.select(keep)])
            exported(1)
        people += len(segment)
    return people, version


def _joined(parts: Iterator[Segment]) -> Iterator[Segment]:
    """Small segments together, so that many small files do not become many small objects."""
    held: list[Segment] = []
    rows = 0
    for part in parts:
        if held and rows + len(part.embeddings) > ROWS_AT_ONCE:
            yield Segment.joined(held)
            held, rows = [], 0
        held.append(part)
        rows += len(part.embeddings)
    if held:
        yield Segment.joined(held)
