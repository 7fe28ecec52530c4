"""The gallery in memory: one centroid a person, and snapshots of it to search in.

Every change of a person takes a new slot and leaves the old one as it was, so a snapshot is the
arrays, how many slots there were, and which of them were alive. Searching needs no lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.gallery.segment import Kind, Segment

# What one step of a search holds at once: so many people, so many probes.
_PEOPLE_AT_ONCE = 16_384
_PROBES_AT_ONCE = 256
_FIRST_CAPACITY = 1024


@dataclass(frozen=True)
class Person:
    """Somebody enrolled; times in seconds since 1970."""

    id: int
    photos: int
    name: str | None
    metadata: dict[str, Any]
    created: float
    updated: float


class Hits(NamedTuple):
    """For F probes the K = min(top_k, people) nearest people each, best first.

    Ids int64 (F, K), cosines float32 (F, K), and F lists of K names.
    """

    ids: NDArray[np.int64]
    similarities: NDArray[np.float32]
    names: list[list[str | None]]


@dataclass
class _Columns:
    """Slots; rows past the used ones are not yet anybody's.

    ``centroids`` float16 (C, D) unit length, and ``norms`` float32 (C,) the length that the sum of
    the person's embeddings had: centroid * norm is that sum, so photos can be added to it.
    """

    ids: NDArray[np.int64]
    photos: NDArray[np.int32]
    norms: NDArray[np.float32]
    centroids: NDArray[np.float16]
    created: NDArray[np.float64]
    updated: NDArray[np.float64]

    @classmethod
    def empty(cls, capacity: int, dimension: int) -> _Columns:
        return cls(
            np.empty(capacity, np.int64),
            np.empty(capacity, np.int32),
            np.empty(capacity, np.float32),
            np.empty((capacity, dimension), np.float16),
            np.empty(capacity, np.float64),
            np.empty(capacity, np.float64),
        )

    def taken(self, slots: NDArray[np.intp] | slice, capacity: int) -> _Columns:
        """A copy of these slots with room for ``capacity``."""
        copy = _Columns.empty(capacity, self.centroids.shape[1])
        for name, column in vars(self).items():
            chosen = column[slots]
            getattr(copy, name)[: len(chosen)] = chosen
        return copy


@dataclass(frozen=True)
class Snapshot:
    """The gallery at one version, for reading; never changes."""

    version: int
    _columns: _Columns
    _alive: NDArray[np.bool_]  # (slots used,)
    _details: dict[int, dict[str, Any]]  # by slot

    def __len__(self) -> int:
        return int(self._alive.sum())

    @property
    def photos(self) -> int:
        return int(self._columns.photos[: len(self._alive)][self._alive].sum())

    def search(self, probes: NDArray[np.float32], top_k: int) -> Hits:
        """The nearest people to each of ``probes``, float32 (F, D), unit length."""
        k = min(top_k, len(self))
        slots = np.zeros((len(probes), k), np.intp)
        similarities = np.empty((len(probes), k), np.float32)
        for start in range(0, len(probes) if k else 0, _PROBES_AT_ONCE):
            part = slice(start, start + _PROBES_AT_ONCE)
            slots[part], similarities[part] = self._nearest(probes[part], k)
        return Hits(
            ids=self._columns.ids[slots],
            # Rounding can carry a cosine a little past 1.
            similarities=np.clip(similarities, -1, 1),
            names=[[self._details.get(s, {}).get("name") for s in row] for row in slots.tolist()],
        )

    def _nearest(
        self, probes: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Slots (F, k) and cosines (F, k), best first."""
        best = np.zeros((len(probes), 0), np.intp)
        cosines = np.zeros((len(probes), 0), np.float32)
        for start in range(0, len(self._alive), _PEOPLE_AT_ONCE):
            part = slice(start, min(start + _PEOPLE_AT_ONCE, len(self._alive)))
            # Searched in float32: there is no fast product of float16 on a CPU.
            found = probes @ self._columns.centroids[part].astype(np.float32).T
            found[:, ~self._alive[part]] = -np.inf
            here = np.broadcast_to(np.arange(part.start, part.stop), found.shape)
            best, cosines = _top(
                np.concatenate([best, here], axis=1), np.concatenate([cosines, found], axis=1), k
            )
        order = np.argsort(-cosines, axis=1, kind="stable")
        return np.take_along_axis(best, order, axis=1), np.take_along_axis(cosines, order, axis=1)

    def __contains__(self, person: int) -> bool:
        return self._slot(person) is not None

    def get(self, person: int) -> Person | None:
        slot = self._slot(person)
        return None if slot is None else self._person(slot)

    def _slot(self, person: int) -> int | None:
        used = len(self._alive)
        slots = np.flatnonzero((self._columns.ids[:used] == person) & self._alive)
        return int(slots[0]) if len(slots) else None

    def list(self, limit: int, after: int = -1) -> list[Person]:
        """The first ``limit`` people in the order of their ids, from the one past ``after`` on."""
        used = len(self._alive)
        ids = self._columns.ids[:used]
        slots = np.flatnonzero(self._alive & (ids > after))
        if len(slots) > limit:
            slots = slots[np.argpartition(ids[slots], limit - 1)[:limit]]
        return [self._person(int(s)) for s in slots[np.argsort(ids[slots])]]

    def _person(self, slot: int) -> Person:
        details = self._details.get(slot, {})
        columns = self._columns
        return Person(
            id=int(columns.ids[slot]),
            photos=int(columns.photos[slot]),
            name=details.get("name"),
            metadata=details.get("metadata") or {},
            created=float(columns.created[slot]),
            updated=float(columns.updated[slot]),
        )


class People:
    """The mutable state that segments are applied to; one thread at a time.

    Args:
        dimension: numbers in one embedding.
        expected: operations that will be applied first; room for them is made at once.
    """

    def __init__(self, dimension: int, expected: int = 0) -> None:
        self._dimension = dimension
        self._clear(expected)

    def _clear(self, capacity: int = 0) -> None:
        capacity = max(capacity, _FIRST_CAPACITY)
        self._columns = _Columns.empty(capacity, self._dimension)
        self._alive = np.zeros(capacity, np.bool_)
        self._used = 0
        self._slot_of: dict[int, int] = {}
        self._details: dict[int, dict[str, Any]] = {}

    def snapshot(self, version: int) -> Snapshot:
        alive = self._alive[: self._used].copy()
        return Snapshot(version, self._columns, alive, self._details)

    def apply(self, segment: Segment) -> None:
        """Raises ValueError when the segment's embeddings are of another dimension."""
        if segment.dimension != self._dimension:
            raise ValueError(f"embeddings of {segment.dimension} numbers, not {self._dimension}")
        if (segment.kind == Kind.PUT).all() and len(np.unique(segment.id)) == len(segment):
            self._put(segment)
        else:
            self._one_by_one(segment)
        if self._used > _FIRST_CAPACITY and len(self._slot_of) < self._used // 2:
            self._rebuild()

    def _put(self, segment: Segment) -> None:
        """A put for each of many different people, at once."""
        if not len(segment):
            return
        rows = segment.row_starts()
        first = self._reserve(len(segment))
        ids = segment.id.tolist()
        columns, new = self._columns, slice(first, first + len(segment))
        columns.ids[new] = segment.id
        columns.photos[new] = segment.count
        for start in range(0, len(segment), _PEOPLE_AT_ONCE):
            end = min(start + _PEOPLE_AT_ONCE, len(segment))
            embeddings = segment.embeddings[rows[start] : rows[end]].astype(np.float32)
            sums = np.add.reduceat(embeddings, rows[start:end] - rows[start], axis=0)
            part = slice(first + start, first + end)
            columns.norms[part], columns.centroids[part] = _unit(sums)
        columns.created[new] = segment.created
        columns.updated[new] = segment.updated
        if len(segment.details):
            self._details.update(
                (slot, d) for slot, d in enumerate(segment.each_details(), first) if d
            )
        known = [
            (slot, self._slot_of[i]) for slot, i in enumerate(ids, first) if i in self._slot_of
        ]
        for slot, old in known:
            columns.created[slot] = columns.created[old]
            self._describe(slot, old, self._details.get(slot, {}))
            self._alive[old] = False
        self._slot_of.update(zip(ids, range(first, first + len(ids)), strict=True))
        self._alive[new] = True

    def _one_by_one(self, segment: Segment) -> None:
        rows, sources = segment.row_starts().tolist(), segment.source_starts().tolist()
        for n, details in enumerate(segment.each_details()):
            kind, person = Kind(segment.kind[n]), int(segment.id[n])
            created, updated = float(segment.created[n]), float(segment.updated[n])
            old = self._slot_of.get(person)
            if kind in (Kind.PUT, Kind.APPEND):
                new = segment.embeddings[rows[n] : rows[n + 1]].astype(np.float32)
                total, photos = new.sum(axis=0), len(new)
                if kind is Kind.APPEND and old is not None:
                    total, photos = total + self._sum(old), photos + int(self._columns.photos[old])
                self._replace(person, total, photos, created, updated, details)
            elif kind is Kind.DELETE:
                self._drop(person)
            elif kind is Kind.MERGE:
                ids = segment.sources[sources[n] : sources[n + 1]].tolist()
                self._merge(person, ids, updated)
            elif kind is Kind.DESCRIBE and old is not None:
                photos = int(self._columns.photos[old])
                self._replace(person, self._sum(old), photos, created, updated, details)
            elif kind is Kind.CLEAR:
                self._clear()

    def _merge(self, person: int, sources: list[int], updated: float) -> None:
        people = [person, *(s for s in dict.fromkeys(sources) if s != person)]
        slots = [self._slot_of[p] for p in people if p in self._slot_of]
        if not slots:
            return
        columns = self._columns
        total = np.sum([self._sum(s) for s in slots], axis=0)
        photos = int(columns.photos[slots].sum())
        created = float(columns.created[slots].min())
        # What the target says of itself stands; what it does not say, the first source tells.
        details: dict[str, Any] = {}
        for slot in slots:
            told = {k: v for k, v in self._details.get(slot, {}).items() if v}
            details = {**told, **details}
        for p in people:
            self._drop(p)
        self._replace(person, total, photos, created, updated, details)

    def _replace(
        self,
        person: int,
        total: NDArray[np.float32],
        photos: int,
        created: float,
        updated: float,
        details: dict[str, Any],
    ) -> None:
        old = self._slot_of.get(person)
        slot = self._reserve(1)
        columns = self._columns
        columns.ids[slot] = person
        columns.photos[slot] = photos
        columns.norms[slot : slot + 1], columns.centroids[slot : slot + 1] = _unit(total[None])
        columns.created[slot] = created if old is None else columns.created[old]
        columns.updated[slot] = updated
        self._describe(slot, old, details)
        if old is not None:
            self._alive[old] = False
        self._slot_of[person] = slot
        self._alive[slot] = True

    def _describe(self, slot: int, old: int | None, details: dict[str, Any]) -> None:
        merged = {**(self._details.get(old, {}) if old is not None else {}), **details}
        if merged:
            self._details[slot] = merged

    def _drop(self, person: int) -> None:
        slot = self._slot_of.pop(person, None)
        if slot is not None:
            self._alive[slot] = False

    def _sum(self, slot: int) -> NDArray[np.float32]:
        centroid = self._columns.centroids[slot].astype(np.float32)
        total: NDArray[np.float32] = centroid * self._columns.norms[slot]
        return total

    def _reserve(self, slots: int) -> int:
        """The first of so many free slots. Snapshots keep the arrays that they were made of."""
        first, needed = self._used, self._used + slots
        if needed > len(self._alive):
            capacity = max(needed, len(self._alive) * 3 // 2)
            self._columns = self._columns.taken(slice(0, self._used), capacity)
            self._alive = np.concatenate([self._alive, np.zeros(capacity - first, np.bool_)])
            self._alive = self._alive[:capacity]
        self._used = needed
        return first

    def _rebuild(self) -> None:
        """Leave the dead slots behind."""
        slots = np.flatnonzero(self._alive[: self._used])
        capacity = max(_FIRST_CAPACITY, len(slots) * 5 // 4)
        self._columns = self._columns.taken(slots, capacity)
        self._details = {
            new: self._details[old]
            for new, old in enumerate(slots.tolist())
            if old in self._details
        }
        self._used = len(slots)
        self._alive = np.arange(capacity) < self._used
        ids = self._columns.ids[: self._used].tolist()
        self._slot_of = dict(zip(ids, range(self._used), strict=True))


def _top(
    slots: NDArray[np.intp], cosines: NDArray[np.float32], k: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The k best of each row, or all where there are fewer, in any order."""
    if cosines.shape[1] <= k:
        return slots, cosines
    best = np.argpartition(cosines, -k, axis=1)[:, -k:]
    return np.take_along_axis(slots, best, axis=1), np.take_along_axis(cosines, best, axis=1)


def _unit(sums: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lengths (N,) and unit vectors (N, D). Opposite photos can cancel out; then any will do."""
    norms = np.linalg.norm(sums, axis=1).astype(np.float32)
    return norms, (sums / np.maximum(norms, 1e-12)[:, None]).astype(np.float32)
