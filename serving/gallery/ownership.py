"""Ownership of operations: which ones have to be removed when a person is erased.

A merge hands the operations of one person on to another, and a split leaves operations behind that
hold photos of several people, so the id in an operation is not enough.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.gallery.segment import WITH_SOURCES, Kind, Segment

_Position = tuple[int, int]  # number of the segment, number of the operation in it


class Ownership:
    """Operations with embeddings or details, by the person to whom they belong at the end."""

    def __init__(self) -> None:
        self._current: dict[int, list[_Position]] = {}
        self._past: dict[int, list[_Position]] = {}
        # From before a split: dead, with photos of each of these people, whose later operations
        # hold them again.
        self._parted: dict[int, set[_Position]] = {}

    @classmethod
    def of(cls, segments: Iterable[Owners], people: Collection[int]) -> Ownership:
        """The operations of these people, from all segments of a gallery, in order."""
        columns = list(segments)
        # The operations of people who were merged into one of these belong to that one, and those
        # of people who were split hold photos of whom these went to.
        wanted = set(people)
        for column in reversed(columns):
            for n in reversed(column.sources):
                if column.kind[n] == Kind.DISTINCT:
                    continue
                if column.kind[n] == Kind.SPLIT:
                    if not wanted.isdisjoint(column.sources[n]):
                        wanted.add(int(column.id[n]))
                elif column.id[n] in wanted:
                    wanted.update(column.sources[n])
        ownership = cls()
        for number, column in enumerate(columns):
            ownership._add(number, column, wanted)
        return ownership

    def ever(self, person: int) -> bool:
        """Whether any operation belongs to the person, enrolled or deleted."""
        return any(person in held for held in (self._current, self._past, self._parted))

    def all_of(self, people: Collection[int]) -> dict[int, list[int]]:
        """By segment, all operations of these people."""
        held = (self._past, self._parted, self._current)
        return _by_segment(p for of in held for person in people for p in of.get(person, ()))

    def dead(self, people: Collection[int]) -> dict[int, list[int]]:
        """By segment, the operations of these people from before they were last deleted or split.

        Leaves out later operations of people who were enrolled again: these may be newer than the
        request to erase them.
        """
        held = (self._past, self._parted)
        return _by_segment(p for of in held for person in people for p in of.get(person, ()))

    def _add(self, number: int, column: Owners, wanted: Collection[int]) -> None:
        concerns_all = np.isin(column.kind, (Kind.MERGE, Kind.DISTINCT, Kind.CLEAR))
        concerned = concerns_all | np.isin(column.id, list(wanted))
        for n in np.flatnonzero(concerned).tolist():
            kind, person = Kind(column.kind[n]), int(column.id[n])
            if kind in (Kind.PUT, Kind.APPEND):
                # Operations that a put replaces still hold the name and the time of enrolment.
                self._current.setdefault(person, []).append((number, n))
            elif kind is Kind.DESCRIBE:
                self._note(person, (number, n))
            elif kind is Kind.DISTINCT:
                # Of both: it goes with the first who is erased.
                for each in (person, *column.sources[n]):
                    self._note(each, (number, n))
            elif kind is Kind.DELETE:
                self._retire(person)
                # Known even if nothing else is left: so an interrupted erasure can be repeated.
                self._past.setdefault(person, [])
            elif kind is Kind.MERGE:
                for source in column.sources[n]:
                    if source != person:
                        self._hand_on(source, person)
            elif kind is Kind.SPLIT:
                self._split(person, column.sources[n])
            elif kind is Kind.CLEAR:
                for enrolled in list(self._current):
                    self._retire(enrolled)

    def _note(self, person: int, position: _Position) -> None:
        held = self._current if person in self._current else self._past
        held.setdefault(person, []).append(position)

    def _retire(self, person: int) -> None:
        dead = [*self._current.pop(person, ()), *self._parted.pop(person, ())]
        if dead:
            self._past.setdefault(person, []).extend(dead)

    def _hand_on(self, source: int, target: int) -> None:
        if source in self._current:
            self._current.setdefault(target, []).extend(self._current.pop(source))
            # Also of the source still: they may hold what was theirs, and did not come along.
            self._parted.setdefault(target, set()).update(self._parted.get(source, ()))

    def _split(self, person: int, heirs: Iterable[int]) -> None:
        dead = {*self._current.pop(person, ()), *self._parted.get(person, ())}
        for each in (person, *heirs):
            self._parted.setdefault(each, set()).update(dead)


def _by_segment(positions: Iterable[_Position]) -> dict[int, list[int]]:
    operations: dict[int, list[int]] = {}
    for segment, operation in sorted(set(positions)):
        operations.setdefault(segment, []).append(operation)
    return operations


@dataclass(frozen=True)
class Owners:
    """The columns of a segment that ownership needs: not its embeddings and details. Some 9 bytes
    an operation, where the segment has a thousand.

    ``sources`` are those of each merge, split or distinct, by the number of its operation.
    """

    kind: NDArray[np.uint8]
    id: NDArray[np.int64]
    sources: dict[int, list[int]]

    @classmethod
    def of(cls, segment: Segment) -> Owners:
        starts = segment.source_starts()
        having = np.flatnonzero(np.isin(segment.kind, WITH_SOURCES)).tolist()
        sources = {n: segment.sources[starts[n] : starts[n + 1]].tolist() for n in having}
        # Copies: a view would keep the whole segment.
        return cls(segment.kind.copy(), segment.id.copy(), sources)
