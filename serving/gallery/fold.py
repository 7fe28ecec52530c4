"""Folding: a run of segments into as few operations as do the same.

Drops what was replaced or deleted inside the run. A run that begins with the gallery's first
version becomes one put a person. Any other run may change people from before it: its changes to
them stay operations (append, describe, delete), and a merge that needs a person's rows from before
the run stays a merge, in its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.gallery.folding import Folded, Folder, Rows
from serving.gallery.segment import Segment, starts_of

# The embeddings of the segment of this number in the run.
Embeddings = Callable[[int], NDArray[np.floating[Any]]]


def fold(
    segments: Sequence[Segment],
    *,
    from_nothing: bool,
    max_rows: int,
    embeddings: Embeddings | None = None,
) -> Iterator[Segment]:
    """Segments that do the same as ``segments`` one after the other.

    Args:
        from_nothing: the run begins with the gallery's first version.
        max_rows: embeddings in one segment.
        embeddings: reads them again, for segments without (`Segment.bare`): called for each
            segment that is made with the numbers of those that it needs, in their order. None:
            ``segments`` have them.
    """
    embeddings = embeddings or (lambda number: segments[number].embeddings)
    operations = Folder(from_nothing).run(segments)
    part: list[Folded] = []
    rows = 0
    for operation in operations:
        count = sum(r.end - r.start for r in operation.rows)
        if part and rows + count > max_rows:
            yield _segment(part, segments, embeddings)
            part, rows = [], 0
        part.append(operation)
        rows += count
    if part:
        yield _segment(part, segments, embeddings)


def _segment(
    operations: Sequence[Folded], segments: Sequence[Segment], embeddings: Embeddings
) -> Segment:
    details = [json.dumps(o.details).encode() if o.details else b"" for o in operations]
    return Segment(
        kind=np.array([o.kind for o in operations], np.uint8),
        id=np.array([o.id for o in operations], np.int64),
        count=np.array(
            [len(o.sources) + sum(r.end - r.start for r in o.rows) for o in operations], np.int32
        ),
        embeddings=_gather([r for o in operations for r in o.rows], segments, embeddings),
        sources=np.array([s for o in operations for s in o.sources], np.int64),
        created=np.array([o.created for o in operations], np.float64),
        updated=np.array([o.updated for o in operations], np.float64),
        details_length=np.array([len(d) for d in details], np.int32),
        details=np.frombuffer(b"".join(details), np.uint8),
    )


def _gather(
    rows: Sequence[Rows], segments: Sequence[Segment], embeddings: Embeddings
) -> NDArray[np.floating[Any]]:
    dimension = segments[0].dimension
    dtype = np.result_type(*(s.embeddings.dtype for s in segments))
    starts = starts_of([r.end - r.start for r in rows])
    gathered = np.empty((starts[-1], dimension), dtype)
    by_segment: dict[int, list[tuple[int, Rows]]] = {}
    for start, r in zip(starts.tolist(), rows, strict=False):
        by_segment.setdefault(r.segment, []).append((start, r))
    for number in sorted(by_segment):
        source = embeddings(number)
        for start, r in by_segment[number]:
            gathered[start : start + r.end - r.start] = source[r.start : r.end]
    return gathered
