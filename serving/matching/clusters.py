"""Faces of people whom nobody has named, grouped by person.

Average linkage: two groups become one as long as the mean cosine between their faces reaches the
threshold. Against single linkage it does not chain strangers together by a few poor photos. Faces
of one photo are of different people, and count as opposites.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from serving.errors import InvalidInput

# The distances of that many faces, and scipy's copy of them, take 0.8 GB.
MOST_ALIKE = 10_000
_ROWS = 256
_OPPOSITE = 2.0  # the largest distance


def cluster(
    vectors: NDArray[np.float32],
    photos: Sequence[int],
    threshold: float,
    *,
    most: int = MOST_ALIKE,
) -> NDArray[np.int64]:
    """The group of each face, int64 (n,): 0 is the group with the most faces, and of groups that
    are as large the one whose first face comes first.

    Args:
        vectors: float32 (n, D), unit length.
        photos: the number of each face's photo.
        threshold: the mean cosine of two groups from which they are one; above 0.
        most: faces that may be compared at once, each with each.

    Raises:
        InvalidInput: too many faces are alike.
    """
    groups = np.empty(len(vectors), np.int64)
    begun = 0
    for part in _parts(vectors, threshold):
        own = _linked(vectors[part], np.asarray(photos)[part], threshold, most)
        groups[part] = begun + own
        begun += int(own.max()) + 1
    return _by_size(groups)


def _parts(vectors: NDArray[np.float32], threshold: float) -> list[NDArray[np.int64]]:
    """The faces in parts that no group reaches across: a mean reaches the threshold only where one
    of its cosines does."""
    count = len(vectors)
    labels = np.arange(count)
    for start in range(0, count, _ROWS):
        rows, columns = np.nonzero(vectors[start : start + _ROWS] @ vectors.T >= threshold)
        begins = np.concatenate([rows + start, np.arange(count)])
        # What is connected already: each face with the first one of its part.
        ends = np.concatenate([columns, labels])
        edges = coo_matrix((np.ones(len(begins), bool), (begins, ends)), (count, count))
        _, found = connected_components(edges, directed=False)
        _, first = np.unique(found, return_index=True)
        labels = first[found]
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if count else []


def _linked(
    vectors: NDArray[np.float32], photos: NDArray[np.int64], threshold: float, most: int
) -> NDArray[np.int64]:
    """The groups within one part."""
    if len(vectors) == 1:
        return np.zeros(1, np.int64)
    if len(vectors) > most:
        raise InvalidInput(
            f"{len(vectors)} faces are alike at a threshold of {threshold:g}, and more than "
            f"{most:,} cannot be compared at once; raise the threshold."
        )
    count = len(vectors)
    # Of each pair once, as scipy wants them: the first face with all after it, the second, …
    distances = np.empty(count * (count - 1) // 2)
    end = 0
    for n in range(count - 1):
        begin, end = end, end + count - 1 - n
        distances[begin:end] = 1 - vectors[n + 1 :] @ vectors[n]
        distances[begin:end][photos[n + 1 :] == photos[n]] = _OPPOSITE
    tree = linkage(distances, "average")
    groups: NDArray[np.int64] = fcluster(tree, 1 - threshold, "distance").astype(np.int64) - 1
    return groups


def _by_size(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    _, first, inverse, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    places = np.empty(len(sizes), np.int64)
    places[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    renamed: NDArray[np.int64] = places[inverse]
    return renamed
