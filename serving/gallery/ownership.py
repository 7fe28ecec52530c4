"""Whose embeddings an operation holds: what has to go when a person is erased.

Merging hands the operations of one person on to another, so the id in an operation does not tell.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from serving.gallery.segment import Kind, Segment

_Place = tuple[int, int]  # number of the segment, number of the operation in it


class Ownership:
    """Operations with embeddings or details, by the person whom they belong to at the end."""

    def __init__(self) -> None:
        self._current: dict[int, list[_Place]] = {}
        self._past: dict[int, list[_Place]] = {}

    @classmethod
    def of(cls, segments: Iterable[Segment]) -> Ownership:
        """From all segments of a gallery, in order."""
        ownership = cls()
        for number, segment in enumerate(segments):
            ownership._add(number, segment)
        return ownership

    def now(self, person: int) -> bool:
        """Whether the person is enrolled at the end."""
        return person in self._current

    def ever(self, person: int) -> bool:
        """Whether any operation belongs to the person, enrolled or deleted."""
        return person in self._current or person in self._past

    def dead(self, people: Collection[int]) -> dict[int, list[int]]:
        """By segment, the operations of these people that were replaced or deleted.

        Not those of somebody who was enrolled again: they may be of after the erasure was asked.
        """
        found: dict[int, list[int]] = {}
        for person in people:
            for segment, operation in self._past.get(person, ()):
                found.setdefault(segment, []).append(operation)
        return found

    def _add(self, number: int, segment: Segment) -> None:
        sources = segment.source_starts().tolist()
        for n, (kind, person) in enumerate(
            zip(segment.kind.tolist(), segment.id.tolist(), strict=True)
        ):
            if kind == Kind.PUT:
                self._retire(person)
                self._current[person] = [(number, n)]
            elif kind == Kind.APPEND:
                self._current.setdefault(person, []).append((number, n))
            elif kind == Kind.DESCRIBE:
                held = self._current if person in self._current else self._past
                held.setdefault(person, []).append((number, n))
            elif kind == Kind.DELETE:
                self._retire(person)
            elif kind == Kind.MERGE:
                for source in segment.sources[sources[n] : sources[n + 1]].tolist():
                    if source != person:
                        self._hand_on(source, person)
            elif kind == Kind.CLEAR:
                for somebody in list(self._current):
                    self._retire(somebody)

    def _retire(self, person: int) -> None:
        if person in self._current:
            self._past.setdefault(person, []).extend(self._current.pop(person))

    def _hand_on(self, source: int, target: int) -> None:
        for held in (self._current, self._past):
            if source in held:
                held.setdefault(target, []).extend(held.pop(source))
