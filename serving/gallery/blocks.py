"""Rows of float16 in blocks, so that growing copies nothing."""

from __future__ import annotations

import resource

import numpy as np
from numpy.typing import NDArray

from serving.gallery.disk import Disk, DiskRows

# 64 MiB of 512 numbers each. Pages that are not written to take no memory, and a search gathers its
# candidates block by block, so there should not be many.
_BITS = 16
_ROWS = 1 << _BITS
# Rows that tell whether others have to be read from the disk.
_SAMPLED = 16

Slots = NDArray[np.intp]


class Blocks:
    """``capacity`` rows (C, D) of float16, rounded up to whole blocks.

    What was grown from another one shares its rows.

    Args:
        disk: where the rows lie; None: in memory.

    Raises:
        GalleryTooLarge: no more files can be opened, or made on this disk.
    """

    def __init__(
        self,
        capacity: int,
        dimension: int,
        shared: Blocks | None = None,
        disk: Disk | None = None,
    ) -> None:
        self.dimension, self.disk = dimension, disk
        self._blocks: list[NDArray[np.float16]] = [] if shared is None else list(shared._blocks)
        # The blocks' files; none in memory.
        self._files: list[DiskRows] = [] if shared is None else list(shared._files)
        while len(self._blocks) * _ROWS < capacity:
            if disk is None:
                self._blocks.append(np.empty((_ROWS, dimension), np.float16))
            else:
                self._files.append(disk.rows(_ROWS, dimension))
                self._blocks.append(self._files[-1].rows)

    @property
    def memory_row_bytes(self) -> int:
        """Bytes of memory of one row that the system cannot drop."""
        return 2 * self.dimension if self.disk is None else 0

    @property
    def disk_bytes(self) -> int:
        """Bytes of disk that the rows take."""
        return sum(file.reserved for file in self._files)

    def reserve(self, rows: int) -> None:
        """Make sure that the first ``rows`` rows, of this capacity, can be written to.

        Raises:
            GalleryTooLarge: the disk is full.
        """
        for n, file in enumerate(self._files[: -(-rows // _ROWS)]):
            file.reserve(min(_ROWS, rows - n * _ROWS))

    def grown(self, capacity: int) -> Blocks:
        return Blocks(capacity, self.dimension, self, self.disk)

    def row(self, slot: int) -> NDArray[np.float16]:
        """A view of one row."""
        row: NDArray[np.float16] = self._blocks[slot >> _BITS][slot & (_ROWS - 1)]
        return row

    def __getitem__(self, slots: Slots) -> NDArray[np.float16]:
        """A copy of these rows: (N, D)."""
        if self._files and len(slots) > _SAMPLED:
            # To announce rows to the disk costs more than to copy those that are in memory.
            before = _read_from_disk()
            self._copied(slots[:: len(slots) // _SAMPLED])
            if _read_from_disk() > before:
                self._prefetch(slots)
        return self._copied(slots)

    def _copied(self, slots: Slots) -> NDArray[np.float16]:
        if len(self._blocks) == 1:
            only: NDArray[np.float16] = self._blocks[0][slots]
            return only
        rows = np.empty((len(slots), self.dimension), np.float16)
        for block, at, inside in self._parts(slots):
            rows[at] = block[inside]
        return rows

    def __setitem__(self, slots: Slots, values: NDArray[np.float16] | int) -> None:
        for block, at, inside in self._parts(slots):
            block[inside] = values if isinstance(values, int) else values[at]

    def _prefetch(self, slots: Slots) -> None:
        number, inside = slots >> _BITS, slots & (_ROWS - 1)
        for n in np.flatnonzero(np.bincount(number)):
            self._files[n].prefetch(inside[number == n])

    def _parts(self, slots: Slots) -> list[tuple[NDArray[np.float16], NDArray[np.bool_], Slots]]:
        """By block: which of ``slots`` lie in it, and where."""
        number, inside = slots >> _BITS, slots & (_ROWS - 1)
        masks = ((n, number == n) for n in np.flatnonzero(np.bincount(number)))
        return [(self._blocks[n], at, inside[at]) for n, at in masks]


def _read_from_disk() -> int:
    """How often this thread has waited for a page from the disk."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_majflt
