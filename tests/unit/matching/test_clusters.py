"""Faces grouped by person."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from serving.errors import InvalidInput
from serving.matching.clusters import cluster

THRESHOLD = 0.5


def unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    made: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("f")
    return made


def faces(seed: int, people: NDArray[np.int64], noise: float = 0.5) -> NDArray[np.float32]:
    """A face of each of these people, which are alike by 1 / (1 + noise²)."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(int(people.max()) + 1, 64))
    return unit(centres[people] + noise * generator.normal(size=(len(people), 64)))


def as_sets(groups: NDArray[np.int64]) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(groups == group).tolist()) for group in set(groups.tolist())}


def test_each_person_is_a_group_the_largest_first() -> None:
    people = np.array([3, 1, 1, 0, 2, 1, 2, 0, 1])
    groups = cluster(faces(0, people), range(len(people)), THRESHOLD)
    # Person 1 has four faces; person 0 comes before person 2, who has as many.
    assert groups.tolist() == [3, 0, 0, 1, 2, 0, 2, 1, 0]


def test_there_are_none_or_one() -> None:
    assert cluster(np.empty((0, 8), np.float32), [], THRESHOLD).tolist() == []
    assert cluster(unit(np.ones((1, 8))), [0], THRESHOLD).tolist() == [0]


@pytest.mark.parametrize("seed", range(5))
def test_parts_change_no_group(seed: int) -> None:
    """More faces than are compared in one step, and people that are hard to tell apart."""
    people = np.random.default_rng(seed).integers(0, 60, 700)
    vectors = faces(seed, people, noise=1.1)
    tree = linkage(vectors.astype(np.float64), "average", metric="cosine")
    expected = fcluster(tree, 1 - THRESHOLD, "distance")
    assert as_sets(cluster(vectors, range(700), THRESHOLD)) == as_sets(expected.astype(np.int64))


def test_strangers_are_not_chained_by_the_faces_between_them() -> None:
    angles = np.radians(np.arange(0, 180, 30))
    vectors = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    groups = cluster(vectors, range(len(vectors)), 0.8)
    assert max(len(group) for group in as_sets(groups)) == 2
    assert groups[0] != groups[-1]


def test_faces_of_one_photo_are_of_different_people() -> None:
    people = np.zeros(4, np.int64)
    vectors = faces(1, people, noise=0.1)
    assert as_sets(cluster(vectors, [0, 1, 2, 3], THRESHOLD)) == {frozenset(range(4))}
    twins = cluster(vectors[:2], [5, 5], THRESHOLD)
    assert twins.tolist() == [0, 1]


def test_more_than_can_be_compared_at_once_are_refused() -> None:
    people = np.array([0] * 5 + [1] * 4)
    vectors = faces(2, people, noise=0.1)
    with pytest.raises(InvalidInput, match=r"5 faces are alike .* more than 4 .*raise the thresh"):
        cluster(vectors, range(9), THRESHOLD, most=4)
    assert len(as_sets(cluster(vectors, range(9), THRESHOLD, most=5))) == 2
