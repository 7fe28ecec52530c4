"""Snapshots: the people of one version of the gallery, to search in and to list."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from serving.gallery.details import Details

# So many are compared by their vectors; docs/bench-gallery.md has how often the best one is then
# that of comparing everybody.
_CANDIDATES = 1000


@dataclass(frozen=True)
class Origin:
    """What somebody was moved from, of another model's gallery; see `serving.gallery.migration`.

    Attributes:
        model: of that gallery, the hash of its id.
        updated: when the person was last changed there; so was this one, unless changed here since.
        photos: tells one set of photos from another.
    """

    model: str
    updated: float
    photos: str


@dataclass(frozen=True)
class Person:
    """Somebody enrolled; times in seconds since 1970."""

    id: int
    photos: int
    name: str | None
    metadata: dict[str, Any]
    created: float
    updated: float
    origin: Origin | None = None


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
    ``codes`` uint8 (C, D/8): their signs, packed; see `codes_of`.
    ``details_start`` and ``details_length`` say where the person's details lie.
    """

    ids: NDArray[np.int64]
    photos: NDArray[np.int32]
    norms: NDArray[np.float32]
    centroids: NDArray[np.float16]
    codes: NDArray[np.uint8]
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
            np.empty((capacity, -(-dimension // 8)), np.uint8),
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


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The gallery at one version, for reading; never changes. Equal is only what is the same."""

    version: int
    _columns: Columns
    _people: int
    _alive: NDArray[np.bool_]  # (slots used,)
    _details: Details

    def __len__(self) -> int:
        return self._people

    @property
    def photos(self) -> int:
        return int(self._columns.photos[: len(self._alive)][self._alive].sum())

    @property
    def nbytes(self) -> int:
        """What the people take in memory, those in slots that are no longer used included."""
        columns = vars(self._columns).values()
        slot = sum(int(column[:1].nbytes) for column in columns)
        return len(self._alive) * (slot + 1) + self._details.nbytes

    def search(self, probes: NDArray[np.float32], top_k: int) -> Hits:
        """The nearest people to each of ``probes``, float32 (F, D), unit length.

        Of more than a thousand people, the thousand whose codes are the most like the probe's are
        compared by their vectors. For the best few that is the same as comparing everybody.
        """
        k = min(top_k, len(self))
        slots = np.zeros((len(probes), k), np.intp)
        similarities = np.empty((len(probes), k), np.float32)
        if k:
            likely = self._candidates(probes, max(_CANDIDATES, 10 * k))
            for n, (probe, among) in enumerate(zip(probes, likely, strict=True)):
                slots[n], similarities[n] = self._nearest(probe, among, k)
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
        self, probe: NDArray[np.float32], among: NDArray[np.intp], k: int
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Slots (k,) and cosines (k,), best first."""
        # In float32: there is no fast product of float16 on a CPU.
        cosines = self._columns.centroids[among].astype(np.float32) @ probe
        best = np.argpartition(cosines, -k)[-k:]
        best = best[np.argsort(-cosines[best], kind="stable")]
        return among[best], cosines[best]

    def _candidates(self, probes: NDArray[np.float32], wanted: int) -> list[NDArray[np.intp]]:
        """For each probe at least half of ``wanted`` alive slots, among them the nearest; all,
        where few are."""
        used = len(self._alive)
        if wanted >= used or wanted >= len(self):
            return [np.flatnonzero(self._alive)] * len(probes)
        # All probes at once: each code is fetched from memory once.
        codes = self._columns.codes[:used]
        _, found = faiss.knn_hamming(codes_of(probes), codes, wanted)
        likely: list[NDArray[np.intp]] = [row[self._alive[row]] for row in found]
        for n, slots in enumerate(likely):
            # Around somebody who was enrolled again and again lie his dead slots.
            asked = wanted
            while 2 * len(slots) < wanted:
                asked *= 4
                if asked >= used:
                    slots = np.flatnonzero(self._alive)
                    break
                _, (row,) = faiss.knn_hamming(codes_of(probes[n : n + 1]), codes, asked)
                slots = row[self._alive[row]]
            likely[n] = slots
        return likely

    def __contains__(self, person: int) -> bool:
        return self._slot(person) is not None

    def people(self, ids: Collection[int]) -> dict[int, Person]:
        """Those of ``ids`` who are enrolled, by id."""
        used = len(self._alive)
        wanted = np.isin(self._columns.ids[:used], np.array(list(ids), np.int64))
        found = (self.person(int(s)) for s in np.flatnonzero(wanted & self._alive))
        return {person.id: person for person in found}

    def get(self, person: int) -> Person | None:
        slot = self._slot(person)
        return None if slot is None else self.person(slot)

    def everybody(self) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.uint8]]:
        """All people in the order of their ids: slots (N,), ids (N,) and codes (N, D/8)."""
        slots = np.flatnonzero(self._alive)
        slots = slots[np.argsort(self._columns.ids[slots])]
        return slots, self._columns.ids[slots], self._columns.codes[slots]

    def centroids(self, slots: NDArray[np.intp]) -> NDArray[np.float32]:
        """Of these slots: (N, D), unit length."""
        return self._columns.centroids[slots].astype(np.float32)

    def sum_of(self, person: int) -> tuple[NDArray[np.float32], int] | None:
        """The sum of the person's embeddings, float32 (D,), and how many they are."""
        slot = self._slot(person)
        if slot is None:
            return None
        centroid = self._columns.centroids[slot].astype(np.float32)
        return centroid * self._columns.norms[slot], int(self._columns.photos[slot])

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
        return [self.person(int(s)) for s in slots[np.argsort(ids[slots])]]

    def person(self, slot: int) -> Person:
        """Who is in this slot."""
        columns = self._columns
        details = columns.told(slot, self._details)
        origin = details.get("origin")
        return Person(
            id=int(columns.ids[slot]),
            photos=int(columns.photos[slot]),
            name=details.get("name"),
            metadata=details.get("metadata") or {},
            created=float(columns.created[slot]),
            updated=float(columns.updated[slot]),
            origin=Origin(*origin) if origin else None,
        )


def codes_of(rows: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """The signs of vectors (N, D), packed: (N, D/8). The more alike two vectors are, the fewer of
    these bits differ (Charikar 2002, doi:10.1145/509907.509965)."""
    return np.packbits(rows > 0, axis=1)
