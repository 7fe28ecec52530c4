"""The people of a gallery in columns, one slot a person."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.gallery.blocks import Blocks
from serving.gallery.details import Details
from serving.gallery.retention import end_of

# Beside the columns: which slot is whose, in `serving.gallery.index`, and the owners in
# `serving.gallery.following.Following`.
INDEX_BYTES = 32
_COPIED_AT_ONCE = 16_384


@dataclass
class Columns:
    """The people in C slots, one person in each; those past the used ones are still free.

    ``centroids`` float16 (C, D) have unit length. ``norms`` float32 (C,) are the lengths of the
    sums of the embeddings: centroid * norm is that sum, so photos can be added to it.
    ``codes`` uint8 (C, D/8): the signs of the centroids, packed; see `codes_of`.
    ``ends`` float64 (C,): when the person's retention ends, in seconds since 1970; or infinity.
    ``details_start`` and ``details_length`` are the position of the person's details.
    """

    ids: NDArray[np.int64]
    photos: NDArray[np.int32]
    norms: NDArray[np.float32]
    codes: NDArray[np.uint8]
    created: NDArray[np.float64]
    updated: NDArray[np.float64]
    ends: NDArray[np.float64]
    details_start: NDArray[np.int64]
    details_length: NDArray[np.int32]
    centroids: Blocks

    @classmethod
    def empty(cls, capacity: int, centroids: Blocks) -> Columns:
        return cls(
            np.empty(capacity, np.int64),
            np.empty(capacity, np.int32),
            np.empty(capacity, np.float32),
            np.empty((capacity, -(-centroids.dimension // 8)), np.uint8),
            np.empty(capacity, np.float64),
            np.empty(capacity, np.float64),
            np.empty(capacity, np.float64),
            np.empty(capacity, np.int64),
            np.empty(capacity, np.int32),
            centroids,
        )

    @property
    def slot_bytes(self) -> int:
        """Bytes of memory of one slot, with two that say whether it is alive."""
        return sum(a[:1].nbytes for _, a in self._arrays()) + self.centroids.memory_row_bytes + 2

    def details_of(self, slot: int, details: Details) -> dict[str, Any]:
        """The details of the person in this slot."""
        return details.get(int(self.details_start[slot]), int(self.details_length[slot]))

    def grown(self, used: int, capacity: int) -> Columns:
        """The same slots with room for ``capacity``: a copy, but for the centroids, which are nine
        tenths of the bytes and are shared."""
        grown = Columns.empty(capacity, self.centroids.grown(capacity))
        for name, array in self._arrays():
            getattr(grown, name)[:used] = array[:used]
        return grown

    def copy_to(self, other: Columns, slots: NDArray[np.intp]) -> None:
        """Copy these slots to the first ones of ``other``."""
        for name, array in self._arrays():
            getattr(other, name)[: len(slots)] = array[slots]
        for start in range(0, len(slots), _COPIED_AT_ONCE):
            part = np.arange(start, min(start + _COPIED_AT_ONCE, len(slots)))
            other.centroids[part] = self.centroids[slots[part]]

    def overwrite(self, slots: NDArray[np.intp]) -> None:
        """Leave nothing of the people in these slots."""
        for _, array in self._arrays():
            array[slots] = 0
        self.ids[slots] = -1
        self.centroids[slots] = 0
        # Equal codes would crowd out the neighbours of a probe that is near them.
        self.codes[slots] = np.random.default_rng().integers(
            0, 256, (len(slots), self.codes.shape[1]), np.uint8
        )

    def _arrays(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """The columns but for the centroids."""
        return ((name, a) for name, a in vars(self).items() if name != "centroids")


def codes_of(rows: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """The signs of vectors (N, D), packed: (N, D/8). The more alike two vectors are, the fewer of
    these bits differ (Charikar 2002, doi:10.1145/509907.509965)."""
    return np.packbits(rows > 0, axis=1)


def ends_of(texts: Sequence[bytes]) -> NDArray[np.float64]:
    """`end_of` each of N encoded details: (N,). Parses only those that may hold one, since a
    million may be read."""
    ends = np.full(len(texts), np.inf)
    for n, text in enumerate(texts):
        if b'"expires_at"' in text or b'"withdrawn_at"' in text:
            ends[n] = end_of(json.loads(text))
    return ends
