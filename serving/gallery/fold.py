"""Folding: a run of segments into as few operations as do the same.

Drops what was replaced or deleted inside the run. A run that begins with the gallery's first
version becomes one put a person. Any other run may change people from before it: its changes to
them stay operations (append, describe, delete), and a merge that needs a person's rows from before
the run stays a merge, in its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.gallery.retention import merged
from serving.gallery.segment import WITH_SOURCES, Kind, Segment, starts_of


@dataclass(slots=True)
class _Rows:
    """Rows ``start`` to ``end`` of the embeddings of one segment of the run."""

    segment: int
    start: int
    end: int


@dataclass(slots=True)
class _Person:
    """What the run has done to one person so far.

    Attributes:
        forget: the run has removed what was there before it, which therefore cannot matter.
        present: the run itself has enrolled the person.
        absolute: the rows replace those from before the run; otherwise they are added.
    """

    forget: bool = False
    present: bool = False
    absolute: bool = False
    rows: list[_Rows] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    created: float = 0.0
    updated: float = 0.0


@dataclass(slots=True)
class _Folded:
    """One operation of the result."""

    kind: Kind
    id: int
    created: float
    updated: float
    rows: Sequence[_Rows] = ()
    sources: Sequence[int] = ()
    details: dict[str, Any] = field(default_factory=dict)


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
    operations = _Folder(from_nothing).run(segments)
    part: list[_Folded] = []
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


class _Folder:
    def __init__(self, from_nothing: bool) -> None:
        self._on_others = not from_nothing
        self._from_nothing = from_nothing
        self._people: dict[int, _Person] = {}
        self._done: list[_Folded] = []
        # Who got photos of people from before the run, see `Kind.SPLIT`; a dict for its order.
        self._heirs: dict[int, dict[int, None]] = {}

    def run(self, segments: Sequence[Segment]) -> Iterable[_Folded]:
        for number, segment in enumerate(segments):
            self._segment(number, segment)
        for person in list(self._people):
            self._flush(person)
        return self._done

    def _segment(self, number: int, segment: Segment) -> None:
        starts, sources = segment.row_starts().tolist(), segment.source_starts().tolist()
        kinds, ids = segment.kind.tolist(), segment.id.tolist()
        created, updated = segment.created.tolist(), segment.updated.tolist()
        for n, details in enumerate(segment.each_details()):
            kind, person = kinds[n], ids[n]
            if kind in (Kind.PUT, Kind.APPEND):
                rows = _Rows(number, starts[n], starts[n + 1])
                self._add(person, rows, kind == Kind.PUT, details, created[n], updated[n])
            elif kind in (Kind.DELETE, Kind.SPLIT):
                self._people[person] = _Person(forget=True)
                self._split(person, segment.sources[sources[n] : sources[n + 1]].tolist())
            elif kind == Kind.DESCRIBE:
                self._describe(person, details, created[n], updated[n])
            elif kind == Kind.MERGE:
                others = segment.sources[sources[n] : sources[n + 1]].tolist()
                self._merge(person, others, created[n], updated[n])
            elif kind == Kind.CLEAR:
                self._clear(person, created[n], updated[n])

    def _of(self, person: int) -> _Person:
        if person not in self._people:
            self._people[person] = _Person(forget=self._from_nothing)
        return self._people[person]

    def _split(self, person: int, heirs: Sequence[int]) -> None:
        if heirs and not self._from_nothing:
            self._heirs.setdefault(person, {})
            self._inherit([person], heirs)

    def _inherit(self, people: Sequence[int], heirs: Sequence[int]) -> None:
        """``heirs`` get the photos of ``people``, who may have them from others."""
        for person, so_far in self._heirs.items():
            if person in people or not so_far.keys().isdisjoint(people):
                so_far.update(dict.fromkeys(h for h in heirs if h != person))

    def _clear(self, person: int, created: float, updated: float) -> None:
        # Whose the photos from before the run were still matters to an erasure.
        split = [
            _Folded(Kind.SPLIT, p, created, updated, sources=list(heirs))
            for p, heirs in self._heirs.items()
        ]
        owned = [o for o in self._done if o.kind in (Kind.DELETE, *WITH_SOURCES)]
        clear = _Folded(Kind.CLEAR, person, created, updated)
        self._people.clear()
        self._heirs.clear()
        self._done = [*owned, *split, clear] if self._on_others else []
        # After the CLEAR operation nothing from before the run is left.
        self._from_nothing = True

    def _add(
        self,
        person: int,
        rows: _Rows,
        put: bool,
        details: dict[str, Any],
        created: float,
        updated: float,
    ) -> None:
        state = self._of(person)
        if not state.present:
            # Also for an append: there is no person to add to, or none that is known.
            state.present = True
            state.absolute = put or state.forget
            state.rows, state.details = [rows], dict(details)
            state.created = created
        else:
            state.absolute = state.absolute or put
            state.rows = [rows] if put else [*state.rows, rows]
            state.details = {**state.details, **details}
        state.updated = updated

    def _describe(
        self, person: int, details: dict[str, Any], created: float, updated: float
    ) -> None:
        state = self._of(person)
        if state.present:
            state.details = {**state.details, **details}
            state.updated = updated
        elif not state.forget:
            # The person may be from before the run, or not exist.
            del self._people[person]
            self._done.append(_Folded(Kind.DESCRIBE, person, created, updated, details=details))

    def _merge(self, person: int, sources: list[int], created: float, updated: float) -> None:
        people = [person, *(s for s in dict.fromkeys(sources) if s != person)]
        states = [self._of(p) for p in people]
        if not all(s.forget for s in states):
            split = [p for p, heirs in self._heirs.items() if not heirs.keys().isdisjoint(people)]
            for p in dict.fromkeys([*split, *people]):
                self._flush(p)
            merge = _Folded(Kind.MERGE, person, created, updated, sources=people[1:])
            self._done.append(merge)
            return
        present = [s for s in states if s.present]
        if not present:
            return
        details = merged(state.details for state in present)
        self._inherit(people[1:], people[:1])
        for p in people:
            self._people[p] = _Person(forget=True)
        self._people[person] = _Person(
            forget=True,
            present=True,
            absolute=True,
            rows=[r for s in present for r in s.rows],
            details=details,
            created=min(s.created for s in present),
            updated=updated,
        )

    def _flush(self, person: int) -> None:
        """Write down what the run has done to this person, and forget it."""
        state = self._people.pop(person, None)
        if state is None:
            return
        if state.forget and not self._from_nothing:
            heirs = list(self._heirs.pop(person, ()))
            kind = Kind.SPLIT if heirs else Kind.DELETE
            times = state.created, state.updated
            self._done.append(_Folded(kind, person, *times, sources=heirs))
        if state.present:
            kind = Kind.PUT if state.absolute else Kind.APPEND
            self._done.append(
                _Folded(
                    kind,
                    person,
                    state.created,
                    state.updated,
                    rows=state.rows,
                    details=state.details,
                )
            )


def _segment(
    operations: Sequence[_Folded], segments: Sequence[Segment], embeddings: Embeddings
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
    rows: Sequence[_Rows], segments: Sequence[Segment], embeddings: Embeddings
) -> NDArray[np.floating[Any]]:
    dimension = segments[0].dimension
    dtype = np.result_type(*(s.embeddings.dtype for s in segments))
    starts = starts_of([r.end - r.start for r in rows])
    gathered = np.empty((starts[-1], dimension), dtype)
    by_segment: dict[int, list[tuple[int, _Rows]]] = {}
    for start, r in zip(starts.tolist(), rows, strict=False):
        by_segment.setdefault(r.segment, []).append((start, r))
    for number in sorted(by_segment):
        source = embeddings(number)
        for start, r in by_segment[number]:
            gathered[start : start + r.end - r.start] = source[r.start : r.end]
    return gathered
