"""Likely duplicates: people of a gallery who look alike, each compared with all others.

Compares in blocks, first by the signs of the centroids, as a search does: so memory grows with
the people and not with their pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.gallery.distinct import Distinct
from serving.gallery.snapshot import Person, Snapshot

# The cosine of a vector with itself may fall short of 1 by the rounding of float32.
SAME = 1 - 1e-6
_BLOCK = 1024
_PAIRS_AT_ONCE = 8192
_NEAREST = 128  # neighbours of each person by the signs, which are compared by their vectors


class Pair(NamedTuple):
    """Two people, the lower id first, and the cosine of their centroids."""

    a: Person
    b: Person
    similarity: float


class Pairs(NamedTuple):
    """The pairs that are most alike, best first.

    Attributes:
        found: how many reach the threshold; ``best`` are fewer where there was a limit.
        next: the highest id that was compared; None: all people were compared.
    """

    best: list[Pair]
    found: int
    next: int | None


def find(
    snapshot: Snapshot,
    threshold: float,
    limit: int,
    *,
    after: int = -1,
    people: int | None = None,
    advance: Callable[[int], None] = lambda people: None,
    block: int = _BLOCK,
    pairs_at_once: int = _PAIRS_AT_ONCE,
) -> Pairs:
    """Pairs whose cosine is at least ``threshold`` and, of two who are known to be two people, at
    least that of their own.

    Args:
        limit: most pairs to return.
        after: compare only people with a higher id; a pair belongs to the lower of its ids.
        people: compare at most this many of them, in the order of their ids, with all others.
        advance: called after each block with its number of people; may raise to give up.
        block: people who are compared with all others at once.
        pairs_at_once: pairs whose vectors are in memory at once.
    """
    slots, ids, codes = snapshot.everybody()
    first = int(np.searchsorted(ids, after, side="right"))
    end = len(ids) if people is None else min(len(ids), first + people)
    pairs, cosines, found = np.empty((0, 2), np.intp), np.empty(0, np.float32), 0
    for start in range(first, end, block):
        part = np.arange(start, min(start + block, end))
        near = _near(codes, part)
        rows, columns = np.nonzero(near > part[:, None])
        mine, other = part[rows], near[rows, columns]
        alike = _cosines(snapshot, slots[mine], slots[other], pairs_at_once)
        keep = alike >= min(threshold, SAME)
        keep &= ~_known(snapshot.distinct, ids[mine], ids[other], alike, keep)
        found += int(keep.sum())
        new = np.stack([mine[keep], other[keep]], axis=1)
        pairs, cosines = np.concatenate([pairs, new]), np.concatenate([cosines, alike[keep]])
        best = np.lexsort((pairs[:, 1], pairs[:, 0], -cosines))[:limit]
        pairs, cosines = pairs[best], cosines[best]
        advance(len(part))
    listed = [
        Pair(snapshot.person(int(a)), snapshot.person(int(b)), similarity)
        for (a, b), similarity in zip(slots[pairs].tolist(), cosines.tolist(), strict=True)
    ]
    return Pairs(listed, found, None if end == len(ids) else int(ids[end - 1]))


def _near(codes: NDArray[np.uint8], block: NDArray[np.intp]) -> NDArray[np.int64]:
    """For each person of ``block``, the K rows with the most similar codes: (B, K)."""
    import faiss  # here, as in `serving.gallery.snapshot`

    _, neighbours = faiss.knn_hamming(codes[block], codes, min(_NEAREST, len(codes)))
    near: NDArray[np.int64] = neighbours.astype(np.int64, copy=False)
    return near


def _known(
    distinct: Distinct,
    mine: NDArray[np.int64],
    other: NDArray[np.int64],
    alike: NDArray[np.float32],
    keep: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """(N,): which pairs among those to ``keep`` are known to be two people, and not more alike than
    their own threshold."""
    known = np.zeros(len(alike), np.bool_)
    for n in np.flatnonzero(keep).tolist() if distinct else ():
        known[n] = alike[n] < distinct.of(int(mine[n])).get(int(other[n]), -1.0)
    return known


def _cosines(
    snapshot: Snapshot, mine: NDArray[np.intp], other: NDArray[np.intp], pairs_at_once: int
) -> NDArray[np.float32]:
    """Cosines of the people in the slots ``mine`` with those in ``other``; in parts, for memory."""
    cosines = np.empty(len(mine), np.float32)
    for start in range(0, len(mine), pairs_at_once):
        part = slice(start, start + pairs_at_once)
        a, b = snapshot.centroids(mine[part]), snapshot.centroids(other[part])
        # They are kept in few bits, so their lengths are only nearly 1.
        lengths = np.sqrt(np.einsum("nd,nd->n", a, a) * np.einsum("nd,nd->n", b, b))
        cosines[part] = np.einsum("nd,nd->n", a, b) / lengths
    # Rounding can carry a cosine a little past 1.
    return np.clip(cosines, -1, 1)
