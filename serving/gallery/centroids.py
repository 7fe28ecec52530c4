"""Centroids: the directions of the sums of people's embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.gallery.segment import starts_of


def summed(
    embeddings: NDArray[np.floating[Any]], counts: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
    """Lengths (N,) and unit vectors (N, D) of the sums of the embeddings, ``counts`` a person."""
    starts = starts_of(counts)[:-1]
    # Most people of a large gallery have one photo: that is their centroid, as it is.
    if len(embeddings) == len(counts):
        return np.ones(len(counts), np.float32), embeddings.astype(np.float16, copy=False)
    sums = np.add.reduceat(embeddings.astype(np.float32), starts, axis=0)
    norms, centroids = unit(sums)
    single = counts == 1
    norms[single], centroids[single] = 1, embeddings[starts[single]]
    return norms, centroids


def unit(sums: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
    """Lengths (N,) and unit vectors (N, D). Opposite photos can cancel out: then any vector will
    do."""
    norms = np.linalg.norm(sums, axis=1).astype(np.float32)
    return norms, (sums / np.maximum(norms, 1e-12)[:, None]).astype(np.float16)
