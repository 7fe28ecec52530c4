"""Pairs of people who are known not to be one person.

Each has a threshold: a cosine below which they are not proposed as duplicates, and below which a
face that is like both is not named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

_NOTHING: Mapping[int, float] = {}


class Distinct:
    """The pairs, from both sides. Copies share nothing."""

    def __init__(self, other: Distinct | None = None) -> None:
        known = {} if other is None else other._of
        self._of: dict[int, dict[int, float]] = {i: dict(of) for i, of in known.items()}

    def __bool__(self) -> bool:
        return bool(self._of)

    def of(self, person: int) -> Mapping[int, float]:
        """The thresholds of this person's pairs, by the id of the other one."""
        return self._of.get(person, _NOTHING)

    def pairs(self) -> Iterator[tuple[int, int, float]]:
        """Each pair once, the lower id first, and its threshold; in the order of the ids."""
        for a in sorted(self._of):
            for b in sorted(self._of[a]):
                if a < b:
                    yield a, b, self._of[a][b]

    def set(self, a: int, b: int, threshold: float | None) -> None:
        """None: they are no such pair any more."""
        for one, other in ((a, b), (b, a)):
            of = self._of.setdefault(one, {})
            of.pop(other, None)
            if threshold is not None and a != b:
                of[other] = threshold
            if not of:
                del self._of[one]

    def forget(self, person: int) -> None:
        for other in list(self.of(person)):
            self.set(person, other, None)

    def merge(self, person: int, sources: Collection[int]) -> None:
        """The pairs of ``sources`` become those of ``person``: of two the higher threshold."""
        for source in sources:
            if source == person:
                continue
            for other, threshold in list(self.of(source).items()):
                self.set(source, other, None)
                if other != person:
                    known = self.of(person).get(other, threshold)
                    self.set(person, other, max(threshold, known))


def threshold_problem(details: Mapping[str, Any]) -> str | None:
    """Why these cannot be the details of a pair, as a sentence; None: they can."""
    threshold = details.get("threshold")
    if threshold is None or (isinstance(threshold, float) and -1 <= threshold <= 1):
        return None
    return "The threshold of a pair is a cosine."
