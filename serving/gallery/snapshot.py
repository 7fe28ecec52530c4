"""Snapshots: the people of one version of the gallery, to search in and to list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.gallery.details import Details

# What one step of a search holds at once: so many people, so many probes.
_PEOPLE_AT_ONCE = 16_384
_PROBES_AT_ONCE = 256


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
class Columns:
    """Slots; rows past the used ones are not yet anybody's.

    ``centroids`` float16 (C, D) unit length, and ``norms`` float32 (C,) the length that the sum of
    the person's embeddings had: centroid * norm is that sum, so photos can be added to it.
    ``details_start`` and ``details_length`` say where the person's details lie.
    """

    ids: NDArray[np.int64]
    photos: NDArray[np.int32]
    norms: NDArray[np.float32]
    centroids: NDArray[np.float16]
    created: NDArray[np.float64]
    updated: NDArray[np.float64]
    details_start: NDArray[np.int64]
    details_length: NDArray[np.int32]

    @classmethod
    def empty(cls, capacity: int, dimension: int) -> Columns:
        return cls(
            np.empty(capacity, np.int64),
            np.empty(capacity, np.int32),
            np.empty(capacity, np.float32),
            np.empty((capacity, dimension), np.float16),
            np.empty(capacity, np.float64),
            np.empty(capacity, np.float64),
            np.empty(capacity, np.int64),
            np.empty(capacity, np.int32),
        )

    def told(self, slot: int, details: Details) -> dict[str, Any]:
        """The details of one slot."""
        return details.get(int(self.details_start[slot]), int(self.details_length[slot]))

    def taken(self, slots: NDArray[np.intp] | slice, capacity: int) -> Columns:
        """A copy of these slots with room for ``capacity``."""
        copy = Columns.empty(capacity, self.centroids.shape[1])
        for name, column in vars(self).items():
            chosen = column[slots]
            getattr(copy, name)[: len(chosen)] = chosen
        return copy


@dataclass(frozen=True)
class Snapshot:
    """The gallery at one version, for reading; never changes."""

    version: int
    _columns: Columns
    _alive: NDArray[np.bool_]  # (slots used,)
    _details: Details

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
            names=[
                [self._columns.told(s, self._details).get("name") for s in row]
                for row in slots.tolist()
            ],
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
        columns = self._columns
        details = columns.told(slot, self._details)
        return Person(
            id=int(columns.ids[slot]),
            photos=int(columns.photos[slot]),
            name=details.get("name"),
            metadata=details.get("metadata") or {},
            created=float(columns.created[slot]),
            updated=float(columns.updated[slot]),
        )


def _top(
    slots: NDArray[np.intp], cosines: NDArray[np.float32], k: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The k best of each row, or all where there are fewer, in any order."""
    if cosines.shape[1] <= k:
        return slots, cosines
    best = np.argpartition(cosines, -k, axis=1)[:, -k:]
    return np.take_along_axis(slots, best, axis=1), np.take_along_axis(cosines, best, axis=1)
