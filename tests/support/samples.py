"""Samples of made-up people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.evaluation.sample import Sample


def sample_of(rows: object, person: Sequence[int], missing: Sequence[int] = ()) -> Sample:
    """A sample of vectors (n, D), the person of each, and those photos that have no face."""
    vectors = np.array(rows, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[list(missing)] = 0
    places = np.unique(person, return_inverse=True)[1]
    problems = ["No face was found." if n in missing else None for n in range(len(person))]
    photos = [Path(f"/photos/{who}/{n}.jpg") for n, who in enumerate(person)]
    return Sample(np.unique(person).astype(np.int64), places, photos, vectors, problems)


def crowd(
    people: int, photos: int = 4, spread: float = 0.5, dimension: int = 24, seed: int = 0
) -> Sample:
    """People in random directions; a photo is its person plus noise of its own."""
    rng = np.random.default_rng(seed)
    own = rng.standard_normal((people, dimension)).repeat(photos, axis=0)
    rows = own + spread * rng.standard_normal(own.shape)
    return sample_of(rows, np.arange(people).repeat(photos).tolist())
