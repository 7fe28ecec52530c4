"""The operations that a fold leaves of a run, person by person; see `serving.gallery.fold`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.gallery.distinct import Distinct
from serving.gallery.retention import merged
from serving.gallery.segment import Kind, Segment

# By which it is known to whom operations from before the run belong.
_OWNED = (Kind.DELETE, Kind.MERGE, Kind.SPLIT)


@dataclass(slots=True)
class Rows:
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
    rows: list[Rows] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    created: float = 0.0
    updated: float = 0.0


@dataclass(slots=True)
class Folded:
    """One operation of the result."""

    kind: Kind
    id: int
    created: float
    updated: float
    rows: Sequence[Rows] = ()
    sources: Sequence[int] = ()
    details: dict[str, Any] = field(default_factory=dict)


class Folder:
    """Folds one run.

    Args:
        from_nothing: the run begins with the gallery's first version.
    """

    def __init__(self, from_nothing: bool) -> None:
        self._on_others = not from_nothing
        self._from_nothing = from_nothing
        self._people: dict[int, _Person] = {}
        self._done: list[Folded] = []
        # Who got photos of people from before the run, see `Kind.SPLIT`; a dict for its order.
        self._heirs: dict[int, dict[int, None]] = {}
        # Of people of whom the run has all.
        self._distinct = Distinct()

    def run(self, segments: Sequence[Segment]) -> Iterable[Folded]:
        """The operations that do the same as ``segments`` one after the other."""
        for number, segment in enumerate(segments):
            self._segment(number, segment)
        self._flush(list(self._people))
        return self._done

    def _segment(self, number: int, segment: Segment) -> None:
        starts, sources = segment.row_starts().tolist(), segment.source_starts().tolist()
        kinds, ids = segment.kind.tolist(), segment.id.tolist()
        created, updated = segment.created.tolist(), segment.updated.tolist()
        for n, details in enumerate(segment.each_details()):
            kind, person = kinds[n], ids[n]
            if kind in (Kind.PUT, Kind.APPEND):
                rows = Rows(number, starts[n], starts[n + 1])
                self._add(person, rows, kind == Kind.PUT, details, created[n], updated[n])
            elif kind in (Kind.DELETE, Kind.SPLIT):
                self._people[person] = _Person(forget=True)
                self._distinct.forget(person)
                self._split(person, segment.sources[sources[n] : sources[n + 1]].tolist())
            elif kind == Kind.DESCRIBE:
                self._describe(person, details, created[n], updated[n])
            elif kind == Kind.MERGE:
                others = segment.sources[sources[n] : sources[n + 1]].tolist()
                self._merge(person, others, created[n], updated[n])
            elif kind == Kind.DISTINCT:
                other = int(segment.sources[sources[n]])
                self._set_distinct(person, other, details, created[n], updated[n])
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
            Folded(Kind.SPLIT, p, created, updated, sources=list(heirs))
            for p, heirs in self._heirs.items()
        ]
        owned = [o for o in self._done if o.kind in _OWNED]
        clear = Folded(Kind.CLEAR, person, created, updated)
        self._people.clear()
        self._heirs.clear()
        self._distinct = Distinct()
        self._done = [*owned, *split, clear] if self._on_others else []
        # After the CLEAR operation nothing from before the run is left.
        self._from_nothing = True

    def _add(
        self,
        person: int,
        rows: Rows,
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
            self._done.append(Folded(Kind.DESCRIBE, person, created, updated, details=details))

    def _merge(self, person: int, sources: list[int], created: float, updated: float) -> None:
        people = [person, *(s for s in dict.fromkeys(sources) if s != person)]
        states = [self._of(p) for p in people]
        if not all(s.forget for s in states):
            split = [p for p, heirs in self._heirs.items() if not heirs.keys().isdisjoint(people)]
            self._flush([*split, *people])
            merge = Folded(Kind.MERGE, person, created, updated, sources=people[1:])
            self._done.append(merge)
            return
        present = [s for s in states if s.present]
        if not present:
            return
        details = merged(state.details for state in present)
        self._inherit(people[1:], people[:1])
        self._distinct.merge(person, people)
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

    def _set_distinct(
        self, person: int, other: int, details: dict[str, Any], created: float, updated: float
    ) -> None:
        states = self._of(person), self._of(other)
        if not all(state.forget for state in states):
            self._flush([person, other])
            op = Folded(Kind.DISTINCT, person, created, updated, sources=[other], details=details)
            self._done.append(op)
        elif all(state.present for state in states):
            self._distinct.set(person, other, details.get("threshold"))

    def _flush(self, people: Iterable[int]) -> None:
        """Write down what the run has done to these people and to those of pairs with them."""
        if not self._distinct:
            for person in people:
                self._write_down(person)
            return
        written: dict[int, float] = {}
        more = list(dict.fromkeys(people))
        while more:
            for person in more:
                state = self._people.get(person)
                written[person] = state.updated if state else 0.0
                self._write_down(person)
            more = [o for p in more for o in self._distinct.of(p) if o not in written]
            more = list(dict.fromkeys(more))
        for a in written:
            for b, threshold in list(self._distinct.of(a).items()):
                self._distinct.set(a, b, None)
                times, details = (written[a], written[a]), {"threshold": threshold}
                self._done.append(Folded(Kind.DISTINCT, a, *times, sources=[b], details=details))

    def _write_down(self, person: int) -> None:
        """Write down what the run has done to this person, and forget it."""
        state = self._people.pop(person, None)
        if state is None:
            return
        if state.forget and not self._from_nothing:
            heirs = list(self._heirs.pop(person, ()))
            kind = Kind.SPLIT if heirs else Kind.DELETE
            times = state.created, state.updated
            self._done.append(Folded(kind, person, *times, sources=heirs))
        if state.present:
            kind = Kind.PUT if state.absolute else Kind.APPEND
            self._done.append(
                Folded(
                    kind,
                    person,
                    state.created,
                    state.updated,
                    rows=state.rows,
                    details=state.details,
                )
            )
