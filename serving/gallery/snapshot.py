"""Snapshots: the people of one version of the gallery, for searches and listings."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.gallery.columns import INDEX_BYTES, Columns, codes_of
from serving.gallery.details import Details
from serving.gallery.distinct import Distinct
from serving.gallery.kept import Kept
from serving.gallery.naming import slots_named
from serving.gallery.retention import end_of
from serving.gallery.version import Version
from serving.settings import MAX_ID

# People compared by their vectors. docs/bench-gallery.md says how often the best of them is the
# best of all people.
_CANDIDATES = 1000


@dataclass(frozen=True)
class Origin:
    """Where a person was moved from: another model's gallery; see `serving.gallery.migration`.

    Attributes:
        model: the hash in the id of that gallery's model.
        updated: when the person was last changed there. `Person.updated` is the same, unless the
            person was changed here since.
        photos: identifies the set of photos.
    """

    model: str
    updated: float
    photos: str


@dataclass(frozen=True)
class Person:
    """An enrolled person; times in seconds since 1970."""

    id: int
    photos: int
    name: str | None
    metadata: dict[str, Any]
    created: float
    updated: float
    origin: Origin | None = None
    expires_at: str | None = None  # this and the next as `serving.gallery.retention` has them
    legal_basis: dict[str, Any] | None = None
    # The thresholds of pairs, by the other one's id, see `serving.gallery.distinct`.
    distinct: dict[int, float] = field(default_factory=dict)

    @property
    def end(self) -> float:
        """When the retention ends, in seconds since 1970; infinity: never."""
        return end_of({"expires_at": self.expires_at, "legal_basis": self.legal_basis})


class Hits(NamedTuple):
    """For F probes the K = min(top_k, people) nearest people each, best first.

    Ids int64 (F, K), cosines float32 (F, K), and F lists of K names.
    """

    ids: NDArray[np.int64]
    similarities: NDArray[np.float32]
    names: list[list[str | None]]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The gallery at one version, for reading; never changes. Compared by identity."""

    version: Version
    _columns: Columns
    _people: int
    _alive: NDArray[np.bool_]  # (slots used,)
    _details: Details
    distinct: Distinct = field(default_factory=Distinct)
    # The snapshot that this is a part of: while that is in use, no slot is overwritten.
    _whole: Snapshot | None = None
    _kept: Kept = field(default_factory=Kept)

    def __len__(self) -> int:
        return self._people

    @property
    def alive(self) -> NDArray[np.bool_]:
        """(slots used,): which slots hold a person of this version."""
        return self._alive

    def at(self, now: float) -> Snapshot:
        """The people of this version whose retention has not ended at ``now``, in seconds since
        1970: those whom a look-up may name."""
        alive, people = self._kept.of(self._alive, self._columns.ends[: len(self._alive)], now)
        if alive is self._alive:
            return self
        return self._of(people, alive)

    def _of(self, people: int, alive: NDArray[np.bool_]) -> Snapshot:
        """Some of the people of this version."""
        return Snapshot(
            self.version, self._columns, people, alive, self._details, self.distinct, self
        )

    def answers(self, version: int) -> bool:
        """Whether these people are those of ``version``, or surely newer: a greater number alone
        does not show that, since after a restore the numbers come again."""
        commit = Version.of(version).commit
        return self.version >= version if commit is None else self.version.commit == commit

    @property
    def photos(self) -> int:
        return int(self._columns.photos[: len(self._alive)][self._alive].sum())

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the people take, including slots that are no longer in use; not
        what the system may drop, see `disk_nbytes`."""
        slots = len(self._alive) * self._columns.slot_bytes
        return slots + self._details.nbytes + len(self) * INDEX_BYTES

    @property
    def disk_nbytes(self) -> int:
        """Bytes of local disk that the people take."""
        return self._columns.centroids.disk_bytes

    def search(self, probes: NDArray[np.float32], top_k: int) -> Hits:
        """The nearest people to each of ``probes``, float32 (F, D), unit length.

        In a gallery of more than a thousand people, only the thousand whose codes are the most like
        the probe's are compared by their vectors. For the best few that gives the same result as
        comparing all people.
        """
        k = min(top_k, len(self))
        slots = np.zeros((len(probes), k), np.intp)
        similarities = np.empty((len(probes), k), np.float32)
        if k:
            candidates = self._candidates(probes, max(_CANDIDATES, 10 * k))
            for n, (probe, likely) in enumerate(zip(probes, candidates, strict=True)):
                slots[n], similarities[n] = self._nearest(probe, likely, k)
        return Hits(
            ids=self._columns.ids[slots],
            # Rounding can carry a cosine a little past 1.
            similarities=np.clip(similarities, -1, 1),
            names=[
                [self._columns.details_of(s, self._details).get("name") for s in row]
                for row in slots.tolist()
            ],
        )

    def _nearest(
        self, probe: NDArray[np.float32], candidates: NDArray[np.intp], k: int
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Slots (k,) and cosines (k,), best first; of equal ones the lower id."""
        # In float32: there is no fast product of float16 on a CPU.
        cosines = self._columns.centroids[candidates].astype(np.float32) @ probe
        # More than k, if some are equal.
        best = np.flatnonzero(cosines >= np.partition(cosines, -k)[-k])
        best = best[np.lexsort((self._columns.ids[candidates[best]], -cosines[best]))][:k]
        return candidates[best], cosines[best]

    def _candidates(self, probes: NDArray[np.float32], wanted: int) -> list[NDArray[np.intp]]:
        """For each probe the slots of the most similar people: at least half of ``wanted``, or all
        where there are fewer."""
        used = len(self._alive)
        if wanted >= used or wanted >= len(self):
            return [np.flatnonzero(self._alive)] * len(probes)
        # Here: the ingress, too, has this module, and never searches.
        import faiss

        # All probes at once: each code is fetched from memory once.
        codes = self._columns.codes[:used]
        _, rows = faiss.knn_hamming(codes_of(probes), codes, wanted)
        likely: list[NDArray[np.intp]] = [row[self._alive[row]] for row in rows]
        for n, slots in enumerate(likely):
            # A person who was enrolled again and again has many dead slots nearby.
            neighbours = wanted
            while 2 * len(slots) < wanted:
                neighbours *= 4
                if neighbours >= used:
                    slots = np.flatnonzero(self._alive)
                    break
                _, (row,) = faiss.knn_hamming(codes_of(probes[n : n + 1]), codes, neighbours)
                slots = row[self._alive[row]]
            likely[n] = slots
        return likely

    def __contains__(self, person: int) -> bool:
        return self._slot(person) is not None

    def people(self, ids: Collection[int]) -> dict[int, Person]:
        """Those of ``ids`` that are enrolled, by id."""
        used = len(self._alive)
        wanted = np.isin(self._columns.ids[:used], np.array(list(ids), np.int64))
        people = (self.person(int(s)) for s in np.flatnonzero(wanted & self._alive))
        return {person.id: person for person in people}

    def named(self, name: str) -> list[Person]:
        """Everybody who has exactly this name, in the order of the ids."""
        slots = slots_named(self._columns, self._details, self._alive, name)
        return sorted((self.person(slot) for slot in slots), key=lambda person: person.id)

    def free_id(self, above: int = -1) -> int:
        """An id that nobody has and, as far as memory knows, nobody had: past all others and
        ``above``; where there is none, the lowest that is free."""
        ids = self._columns.ids[: len(self._alive)]
        last = max(above, int(ids.max(initial=-1)))
        if last < MAX_ID:
            return last + 1
        taken = np.unique(ids[self._alive])
        gaps = np.flatnonzero(taken != np.arange(len(taken)))
        return int(gaps[0]) if len(gaps) else len(taken)

    def counted(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """All people in the order of their ids: ids (N,) and how many photos each has (N,)."""
        slots = np.flatnonzero(self._alive)
        slots = slots[np.argsort(self._columns.ids[slots])]
        return self._columns.ids[slots], self._columns.photos[slots]

    def get(self, person: int) -> Person | None:
        slot = self._slot(person)
        return None if slot is None else self.person(slot)

    def everybody(self) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.uint8]]:
        """All people in the order of their ids: slots (N,), ids (N,) and codes (N, D/8)."""
        slots = np.flatnonzero(self._alive)
        slots = slots[np.argsort(self._columns.ids[slots])]
        return slots, self._columns.ids[slots], self._columns.codes[slots]

    def centroids(self, slots: NDArray[np.intp]) -> NDArray[np.float32]:
        """The centroids in these slots: (N, D), unit length."""
        return self._columns.centroids[slots].astype(np.float32)

    def similarity(self, a: int, b: int) -> float | None:
        """The cosine of two people; None: one is not enrolled."""
        slots = [slot for person in (a, b) if (slot := self._slot(person)) is not None]
        if len(slots) < 2:
            return None
        one, other = self.centroids(np.array(slots, np.intp))
        return float(np.clip(one @ other, -1, 1))

    def similarities(self, probe: NDArray[np.float32], people: Collection[int]) -> dict[int, float]:
        """The cosines of a probe, float32 (D,), to those of ``people`` who are enrolled, by id."""
        used = len(self._alive)
        wanted = np.isin(self._columns.ids[:used], np.array(list(people), np.int64))
        slots = np.flatnonzero(wanted & self._alive)
        cosines = np.clip(self.centroids(slots) @ probe, -1, 1)
        return dict(zip(self._columns.ids[slots].tolist(), cosines.tolist(), strict=True))

    def sum_of(self, person: int) -> tuple[NDArray[np.float32], int] | None:
        """The sum of a person's embeddings, float32 (D,), and their number; None: not enrolled."""
        slot = self._slot(person)
        if slot is None:
            return None
        centroid = self._columns.centroids.row(slot).astype(np.float32)
        return centroid * self._columns.norms[slot], int(self._columns.photos[slot])

    def _slot(self, person: int) -> int | None:
        used = len(self._alive)
        slots = np.flatnonzero((self._columns.ids[:used] == person) & self._alive)
        return int(slots[0]) if len(slots) else None

    def ending(self, before: float) -> Snapshot:
        """The people of this version whose retention ends before then, in seconds since 1970."""
        alive = self._alive & (self._columns.ends[: len(self._alive)] < before)
        people = int(alive.sum())
        return self._of(people, alive)

    def list(self, limit: int, after: int = -1) -> list[Person]:
        """The first ``limit`` people with ids above ``after``, in the order of their ids."""
        used = len(self._alive)
        ids = self._columns.ids[:used]
        slots = np.flatnonzero(self._alive & (ids > after))
        if len(slots) > limit:
            slots = slots[np.argpartition(ids[slots], limit - 1)[:limit]]
        return [self.person(int(s)) for s in slots[np.argsort(ids[slots])]]

    def person(self, slot: int) -> Person:
        """The person in this slot."""
        columns = self._columns
        details = columns.details_of(slot, self._details)
        origin = details.get("origin")
        return Person(
            id=int(columns.ids[slot]),
            photos=int(columns.photos[slot]),
            name=details.get("name"),
            metadata=details.get("metadata") or {},
            created=float(columns.created[slot]),
            updated=float(columns.updated[slot]),
            origin=Origin(*origin) if origin else None,
            expires_at=details.get("expires_at"),
            legal_basis=details.get("legal_basis"),
            distinct=dict(self.distinct.of(int(columns.ids[slot]))),
        )
