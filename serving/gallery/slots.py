"""Slots for people: taken, given up, then overwritten and taken again when no search shows them."""

from __future__ import annotations

import copy
import dataclasses
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.gallery.blocks import Blocks
from serving.gallery.columns import Columns
from serving.gallery.details import Details
from serving.gallery.disk import Disk
from serving.gallery.distinct import Distinct
from serving.gallery.segment import starts_of
from serving.gallery.snapshot import Snapshot
from serving.gallery.version import Version

_FIRST_CAPACITY = 1024
# Smaller details are not worth packing.
_FEW_BYTES = 2**20


class Slots:
    """The memory of one gallery; one thread at a time changes it.

    A slot that a snapshot in use shows does not change. So a snapshot is the columns, the number of
    slots in use, and which of them were alive; searching needs no lock.

    Pages that are not written to take no memory.

    Args:
        disk: where the centroids lie; None: in memory.

    Raises:
        GalleryTooLarge: here and where slots are taken: the disk is full; nothing has changed.
    """

    def __init__(
        self, dimension: int, capacity: int = _FIRST_CAPACITY, disk: Disk | None = None
    ) -> None:
        self.columns = Columns.empty(capacity, Blocks(capacity, dimension, disk=disk))
        self.details = Details()
        self._alive = np.zeros(capacity, np.bool_)
        self._dead = np.zeros(capacity, np.bool_)
        self._used = 0
        self._free = np.empty(0, np.intp)  # of those that were used: overwritten
        self._shown: weakref.WeakSet[Snapshot] = weakref.WeakSet()

    @property
    def used(self) -> int:
        """Slots that are or were in use."""
        return self._used

    @property
    def nbytes(self) -> int:
        """Bytes of memory that they take."""
        return self._used * self.columns.slot_bytes + self.details.nbytes

    def snapshot(self, version: int, people: int, distinct: Distinct | None = None) -> Snapshot:
        alive = self._alive[: self._used].copy()
        columns, details = self.columns, self.details
        made = Snapshot(
            Version.of(version), columns, people, alive, details, distinct or Distinct()
        )
        self._shown.add(made)
        return made

    def fork(self, *, empty: bool) -> Slots:
        """Another history of the same slots, of which only one may go on: what it adds lies where
        the other shows nobody.

        Args:
            empty: nobody is alive in it; `revive` brings back who is.
        """
        other = copy.copy(self)
        other._alive, other._dead = self._alive.copy(), self._dead.copy()
        if empty:
            other._dead |= self._alive
            other._alive[:] = False
        return other

    def undo(self, fork: Slots, details: int) -> None:
        """Leave nothing of a fork that is given up, and began with so many bytes of details."""
        self.details.cut(details)
        for columns in (self.columns, fork.columns):
            new = np.arange(self._used, min(fork._used, len(columns.ids)))
            columns.overwrite(np.concatenate([self._free, new]))

    def reserve(self, slots: int) -> None:
        """Make room for that many more people at once."""
        used = self._used + max(0, slots - len(self._free))
        if used > len(self._alive):
            self._grow(self._used, used * 3 // 2)
        self.columns.centroids.reserve(used)

    def take(self, count: int) -> NDArray[np.intp]:
        """Take free slots, in which people are alive from now on."""
        used = self._used + max(0, count - len(self._free))
        if used > len(self._alive):
            self._grow(self._used, max(used, len(self._alive) * 3 // 2))
        self.columns.centroids.reserve(used)
        reused, self._free = self._free[:count], self._free[count:]
        first, self._used = self._used, used
        slots: NDArray[np.intp] = np.concatenate([reused, np.arange(first, self._used)])
        self._alive[slots] = True
        return slots

    def revive(self, slots: NDArray[np.intp]) -> None:
        """Let the people of these slots be alive in this fork, too."""
        self._alive[slots], self._dead[slots] = True, False

    def kill(self, slots: int | NDArray[np.intp]) -> None:
        self._alive[slots], self._dead[slots] = False, True

    def details_of(self, slot: int) -> dict[str, Any]:
        return self.columns.details_of(slot, self.details)

    def texts_of(self, slots: NDArray[np.intp]) -> list[bytes]:
        """The encoded details of each."""
        columns = self.columns
        starts, lengths = columns.details_start[slots], columns.details_length[slots]
        return [
            self.details.encoded(start, length)
            for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
        ]

    def overwrite_dead(self) -> None:
        """Overwrite the slots of those who are gone, and earlier slots of those who are not, but
        for slots that a snapshot in use still shows, to a search that began before."""
        dead = self._dead[: self._used]
        if not dead.any():
            return
        hidden = dead.copy()
        for snapshot in list(self._shown):
            hidden[: len(snapshot.alive)] &= ~snapshot.alive
        slots = np.flatnonzero(hidden)
        starts, lengths = self.columns.details_start[slots], self.columns.details_length[slots]
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            self.details.overwrite(start, length)
        self.columns.overwrite(slots)
        dead[slots] = False
        self._free = np.concatenate([self._free, slots])
        if self.details.overwritten > max(_FEW_BYTES, self.details.nbytes // 2):
            self._pack_details()

    def packed(self) -> tuple[Slots, NDArray[np.int64]]:
        """The living people in slots of their own, 0 to N, and their ids (N,)."""
        slots = np.flatnonzero(self._alive[: self._used])
        centroids = self.columns.centroids
        capacity = max(_FIRST_CAPACITY, len(slots) * 5 // 4)
        packed = Slots(centroids.dimension, capacity, centroids.disk)
        packed.reserve(len(slots))
        self.columns.copy_to(packed.columns, slots)
        packed._used, packed._alive[: len(slots)] = len(slots), True
        packed.details = self.details
        packed._pack_details()
        return packed, packed.columns.ids[: len(slots)]

    def _pack_details(self) -> None:
        """Copy the details of the living to a new run; snapshots keep the one they have."""
        slots = np.flatnonzero(self._alive[: self._used])
        texts = self.texts_of(slots)
        starts = np.zeros_like(self.columns.details_start)
        lengths = np.zeros_like(self.columns.details_length)
        lengths[slots] = self.columns.details_length[slots]
        starts[slots] = starts_of(lengths[slots])[:-1]
        self.columns = dataclasses.replace(
            self.columns, details_start=starts, details_length=lengths
        )
        self.details = Details()
        self.details.add(b"".join(texts))

    def _grow(self, used: int, capacity: int) -> None:
        self.columns = self.columns.grown(used, capacity)
        more = np.zeros(capacity - len(self._alive), np.bool_)
        self._alive = np.concatenate([self._alive, more])
        self._dead = np.concatenate([self._dead, more])
