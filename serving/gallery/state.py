"""The gallery in memory: one centroid a person, updated by applying segments.

Every change of a person takes a new slot and leaves the old one as it was. So a snapshot is the
arrays, the number of slots in use, and which of them were alive; searching needs no lock. A slot
that no snapshot in use shows any more is overwritten.
"""

from __future__ import annotations

import json
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.gallery.details import Details
from serving.gallery.segment import Kind, Segment, starts_of
from serving.gallery.snapshot import Columns, Snapshot, codes_of
from serving.gallery.version import Version

_FIRST_CAPACITY = 1024
_PEOPLE_AT_ONCE = 16_384


class People:
    """The mutable state that segments are applied to; one thread at a time.

    Args:
        dimension: numbers in one embedding.
        expected: operations that will be applied first; space for them is reserved at once.
    """

    def __init__(self, dimension: int, expected: int = 0) -> None:
        self._dimension = dimension
        self._clear(expected)

    def _clear(self, expected: int = 0) -> None:
        # Pages that are not written to take no memory, and growing later would copy everything.
        capacity = max(expected * 3 // 2, _FIRST_CAPACITY)
        self._columns = Columns.empty(capacity, self._dimension)
        self._alive = np.zeros(capacity, np.bool_)
        self._used = 0
        self._slot_of: dict[int, int] = {}
        self._details = Details()
        self._forget_shown()

    def _forget_shown(self) -> None:
        """The arrays are new: no snapshot shows them, and no slot is dead."""
        self._shown: weakref.WeakSet[Snapshot] = weakref.WeakSet()
        self._dead: list[int] = []

    def snapshot(self, version: int) -> Snapshot:
        alive = self._alive[: self._used].copy()
        people = len(self._slot_of)
        made = Snapshot(Version.of(version), self._columns, people, alive, self._details)
        self._shown.add(made)
        return made

    def overwrite_dead(self) -> None:
        """Overwrite the slots of those who are gone, and earlier slots of those who are not, but
        for slots that a snapshot in use still shows, to a search that began before."""
        if not self._dead:
            return
        seen = np.zeros(self._used, np.bool_)
        for snapshot in list(self._shown):
            seen[: len(snapshot.alive)] |= snapshot.alive
        dead = np.array(self._dead, np.intp)
        self._dead = dead[seen[dead]].tolist()
        dead = dead[~seen[dead]]
        columns = self._columns
        for slot in dead.tolist():
            start, length = int(columns.details_start[slot]), int(columns.details_length[slot])
            self._details.overwrite(start, length)
        for column in vars(columns).values():
            column[dead] = 0
        columns.ids[dead] = -1
        # Equal codes would crowd out the neighbours of a probe that is near them.
        columns.codes[dead] = np.random.default_rng().integers(
            0, 256, (len(dead), columns.codes.shape[1]), np.uint8
        )

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
        # Most people of a large gallery have one photo: that is their centroid, as it is.
        single = segment.count == 1
        columns.centroids[new][single] = segment.embeddings[rows[:-1][single]]
        columns.norms[new][single] = 1
        several = np.flatnonzero(~single)
        for start in range(0, len(several), _PEOPLE_AT_ONCE):
            part = several[start : start + _PEOPLE_AT_ONCE]
            starts = starts_of(segment.count[part])
            offsets = np.repeat(rows[part] - starts[:-1], segment.count[part])
            embeddings = segment.embeddings[offsets + np.arange(starts[-1])].astype(np.float32)
            sums = np.add.reduceat(embeddings, starts[:-1], axis=0)
            columns.norms[first + part], columns.centroids[first + part] = _unit(sums)
        columns.codes[new] = codes_of(columns.centroids[new])
        columns.created[new] = segment.created
        columns.updated[new] = segment.updated
        lengths = segment.details_length
        columns.details_start[new] = self._details.add(segment.details.tobytes())
        columns.details_start[new] += starts_of(lengths)[:-1]
        columns.details_length[new] = lengths
        known = [
            (slot, self._slot_of[i]) for slot, i in enumerate(ids, first) if i in self._slot_of
        ]
        for slot, old in known:
            columns.created[slot] = columns.created[old]
            given = int(columns.details_start[slot]), int(columns.details_length[slot])
            self._describe(slot, old, self._details_of(slot))
            self._details.overwrite(*given)  # merged into a copy, and in no snapshot yet
            self._kill(old)
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
        # The target's details stay; what it lacks comes from the first source that has it.
        details: dict[str, Any] = {}
        for slot in slots:
            details = {**{k: v for k, v in self._details_of(slot).items() if v}, **details}
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
        columns.codes[slot] = codes_of(columns.centroids[slot : slot + 1])
        columns.created[slot] = created if old is None else columns.created[old]
        columns.updated[slot] = updated
        self._describe(slot, old, details)
        if old is not None:
            self._kill(old)
        self._slot_of[person] = slot
        self._alive[slot] = True

    def _describe(self, slot: int, old: int | None, details: dict[str, Any]) -> None:
        merged = {**(self._details_of(old) if old is not None else {}), **details}
        encoded = json.dumps(merged).encode() if merged else b""
        self._columns.details_start[slot] = self._details.add(encoded)
        self._columns.details_length[slot] = len(encoded)

    def _details_of(self, slot: int) -> dict[str, Any]:
        return self._columns.details_of(slot, self._details)

    def _drop(self, person: int) -> None:
        slot = self._slot_of.pop(person, None)
        if slot is not None:
            self._kill(slot)

    def _kill(self, slot: int) -> None:
        self._alive[slot] = False
        self._dead.append(slot)

    def _sum(self, slot: int) -> NDArray[np.float32]:
        centroid = self._columns.centroids[slot].astype(np.float32)
        total: NDArray[np.float32] = centroid * self._columns.norms[slot]
        return total

    def _reserve(self, slots: int) -> int:
        """Take this many free slots, and return the first. Snapshots keep their own arrays."""
        first, needed = self._used, self._used + slots
        if needed > len(self._alive):
            capacity = max(needed, len(self._alive) * 3 // 2)
            self._columns = self._columns.taken(slice(0, self._used), capacity)
            self._alive = np.concatenate([self._alive, np.zeros(capacity - first, np.bool_)])
            self._alive = self._alive[:capacity]
        self._used = needed
        return first

    def _rebuild(self) -> None:
        """Copy the living people to new arrays, without the dead slots."""
        slots = np.flatnonzero(self._alive[: self._used])
        capacity = max(_FIRST_CAPACITY, len(slots) * 5 // 4)
        self._columns = self._columns.taken(slots, capacity)
        self._used = len(slots)
        columns, before, self._details = self._columns, self._details, Details()
        starts, lengths = columns.details_start[: self._used], columns.details_length[: self._used]
        positions = zip(starts.tolist(), lengths.tolist(), strict=True)
        kept = [before.encoded(*position) for position in positions]
        starts[:] = starts_of(lengths)[:-1]
        self._details.add(b"".join(kept))
        self._alive = np.arange(capacity) < self._used
        ids = self._columns.ids[: self._used].tolist()
        self._slot_of = dict(zip(ids, range(self._used), strict=True))
        self._forget_shown()


def _unit(sums: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Lengths (N,) and unit vectors (N, D). Opposite photos can cancel out: then any vector will
    do."""
    norms = np.linalg.norm(sums, axis=1).astype(np.float32)
    return norms, (sums / np.maximum(norms, 1e-12)[:, None]).astype(np.float32)
