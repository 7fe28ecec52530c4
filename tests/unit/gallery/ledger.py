"""The gallery the obvious way: everybody's rows in a dictionary, at every version.

A row is the number of the axis that its embedding lies on, so whose rows went into a centroid can
be told exactly; names and metadata are numbered too. Nothing of it is ever used twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from serving.gallery.segment import Kind, Operation, Segment
from serving.gallery.snapshot import Snapshot
from tests.support.people import unit_rows

DIMENSION = 512
# No two sets of rows have the same cosines to all of these.
_PROBES = unit_rows(8, DIMENSION, seed=1)
_TOLERANCE = 2e-3
_AXES = np.eye(DIMENSION, dtype=np.float32)
Told = tuple[
    tuple[int, ...], str | None, dict[str, Any], float, float, str | None, dict[int, float]
]


@dataclass(frozen=True)
class Change:
    """An operation, with its rows by number."""

    kind: Kind
    id: int
    created: float
    updated: float
    rows: tuple[int, ...] = ()
    sources: tuple[int, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def traces(self) -> frozenset[int | str]:
        """What of it must be in no object once the person is erased."""
        texts = [self.details.get("name"), (self.details.get("metadata") or {}).get("note")]
        if self.details.get("threshold"):
            texts.append(f"a pair with {self.details['threshold']}")
        return frozenset([*self.rows, *(t for t in texts if t)])

    def operation(self) -> Operation:
        rows = _AXES[list(self.rows)] if self.rows else None
        return Operation(
            self.kind, self.id, self.updated, rows, sources=self.sources, details=self.details
        )


def changes_in(segment: Segment) -> list[Change]:
    numbers = [int(n) for n in segment.embeddings.argmax(axis=1)]
    rows, sources = segment.row_starts(), segment.source_starts()
    return [
        Change(
            kind=Kind(segment.kind[n]),
            id=int(segment.id[n]),
            created=float(segment.created[n]),
            updated=float(segment.updated[n]),
            rows=tuple(numbers[rows[n] : rows[n + 1]]),
            sources=tuple(segment.sources[sources[n] : sources[n + 1]].tolist()),
            details=details,
        )
        for n, details in enumerate(segment.each_details())
    ]


@dataclass(frozen=True)
class Somebody:
    rows: tuple[int, ...]
    details: dict[str, Any]
    created: float
    updated: float
    traces: frozenset[int | str]

    def told(self, distinct: dict[int, float]) -> Told:
        name, metadata = self.details.get("name"), self.details.get("metadata") or {}
        end = self.details.get("expires_at")
        times = self.created, self.updated
        return tuple(sorted(self.rows)), name, metadata, *times, end, distinct


class State:
    """Everybody at one version; ``gone``: the traces of those who were deleted, by id; and who is
    known not to be whom."""

    def __init__(
        self,
        people: dict[int, Somebody] | None = None,
        gone: dict[int, frozenset[int | str]] | None = None,
        distinct: dict[frozenset[int], float] | None = None,
    ) -> None:
        self.people = dict(people or {})
        self.gone = dict(gone or {})
        self.distinct = dict(distinct or {})

    def after(self, changes: Iterable[Change]) -> State:
        state = State(self.people, self.gone, self.distinct)
        for change in changes:
            state._apply(change)
        return state

    def told(self) -> dict[int, Told]:
        return {i: p.told(self._pairs_of(i)) for i, p in sorted(self.people.items())}

    def _pairs_of(self, person: int) -> dict[int, float]:
        return {
            other: threshold
            for pair, threshold in self.distinct.items()
            for other in pair - {person}
            if person in pair
        }

    def traces(self, person: int) -> frozenset[int | str]:
        """All that was ever this person's, and was not merged into somebody else."""
        now = self.people.get(person)
        return self.gone.get(person, frozenset()) | (now.traces if now else frozenset())

    def _apply(self, change: Change) -> None:
        kind, person, people = change.kind, change.id, self.people
        old = people.get(person)
        if kind in (Kind.PUT, Kind.APPEND):
            people[person] = Somebody(
                rows=change.rows if kind is Kind.PUT or not old else old.rows + change.rows,
                details={**(old.details if old else {}), **change.details},
                created=old.created if old else change.created,
                updated=change.updated,
                traces=(old.traces if old else frozenset()) | change.traces,
            )
        elif kind is Kind.DESCRIBE and old:
            people[person] = Somebody(
                rows=old.rows,
                details={**old.details, **change.details},
                created=old.created,
                updated=change.updated,
                traces=old.traces | change.traces,
            )
        elif kind is Kind.DISTINCT:
            self._set_distinct(change)
        elif kind is Kind.DESCRIBE:
            self.gone[person] = self.traces(person) | change.traces
        elif kind in (Kind.DELETE, Kind.SPLIT):
            self._forget(person)
        elif kind is Kind.CLEAR:
            for each in list(people):
                self._forget(each)
        elif kind is Kind.MERGE:
            ids = [person, *(s for s in dict.fromkeys(change.sources) if s != person)]
            merged = [people.pop(i) for i in ids if i in people]
            if merged:
                pairs: dict[frozenset[int], float] = {}
                for pair, threshold in self.distinct.items():
                    renamed = frozenset(person if i in ids else i for i in pair)
                    if len(renamed) == 2:
                        pairs[renamed] = max(threshold, pairs.get(renamed, threshold))
                self.distinct = pairs
                details: dict[str, Any] = {}
                for somebody in reversed(merged):
                    details |= {k: v for k, v in somebody.details.items() if v}
                ends = [m.details["expires_at"] for m in merged if m.details.get("expires_at")]
                if ends:
                    details["expires_at"] = min(ends)
                people[person] = Somebody(
                    rows=tuple(r for somebody in merged for r in somebody.rows),
                    details=details,
                    created=min(somebody.created for somebody in merged),
                    updated=change.updated,
                    traces=frozenset().union(*(somebody.traces for somebody in merged)),
                )

    def moved(self, row: int, source: int, target: int, now: float) -> State:
        """With a row of ``source`` as that of ``target``: whoever has it then is who is to be
        erased for it to go."""
        state = State(self.people, self.gone, self.distinct)
        old = state.people.pop(source)
        kept = replace(
            old,
            rows=tuple(r for r in old.rows if r != row),
            updated=now,
            traces=old.traces - {row},
        )
        if kept.rows:
            state.people[source] = kept
        else:
            state.gone[source] = state.gone.get(source, frozenset()) | kept.traces
            state.distinct = {p: t for p, t in self.distinct.items() if source not in p}
        end = old.details.get("expires_at")
        other = state.people.get(target) or Somebody(
            (), {"expires_at": end} if end else {}, now, now, frozenset()
        )
        state.people[target] = replace(
            other, rows=(*other.rows, row), updated=now, traces=other.traces | {row}
        )
        return state

    def _forget(self, person: int) -> None:
        if person in self.people:
            self.gone[person] = self.traces(person)
            del self.people[person]
            self.distinct = {p: t for p, t in self.distinct.items() if person not in p}

    def _set_distinct(self, change: Change) -> None:
        pair = frozenset((change.id, *change.sources))
        for person in pair:
            if person in self.people:
                old = self.people[person]
                self.people[person] = replace(old, traces=old.traces | change.traces)
            else:
                self.gone[person] = self.traces(person) | change.traces
        if len(pair) == 2 and pair <= self.people.keys():
            threshold = change.details.get("threshold")
            self.distinct.pop(pair, None)
            if threshold is not None:
                self.distinct[pair] = threshold


def assert_tells(snapshot: Snapshot, state: State) -> None:
    """That a reader's snapshot holds just these people, with just these rows."""
    people = {p.id: p for p in snapshot.list(1000)}
    told = {
        i: (p.photos, p.name, p.metadata, p.created, p.updated, p.expires_at, p.distinct)
        for i, p in people.items()
    }
    assert told == {i: (len(rows), *rest) for i, (rows, *rest) in state.told().items()}
    ids, cosines, _ = snapshot.search(_PROBES, len(people))
    for person, somebody in state.people.items():
        expected = _PROBES[:, list(somebody.rows)].sum(axis=1) / len(somebody.rows) ** 0.5
        found = np.where(ids == person, cosines, 0).sum(axis=1)
        assert np.abs(found - expected).max() < _TOLERANCE, f"the rows of {person}"
    for now in {person.end for person in people.values()} - {np.inf}:
        kept = snapshot.at(now)
        there = {i for i, person in people.items() if person.end > now}
        assert len(kept) == len(there)
        assert set(kept.search(_PROBES, len(people)).ids.flat) == there


def accepted(state: State, asked: Sequence[tuple[Sequence[Change], Sequence[int]]]) -> list[bool]:
    """Which of several that are committed together find those enrolled whom they require."""
    answers = []
    for changes, require in asked:
        answers.append(all(i in state.people for i in require))
        if answers[-1]:
            state = state.after(changes)
    return answers
