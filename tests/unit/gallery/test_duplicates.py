"""Likely duplicates are those that comparing everybody with everybody finds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.gallery import Gallery, Kind, Operation, Snapshot
from serving.gallery.duplicates import Pair, find
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, LOCATION, put, unit_rows


def open_gallery() -> Gallery:
    return Gallery(MemoryStore(), "galleries", LOCATION)


def gallery_of(rows: NDArray[np.float32], ids: NDArray[np.int64]) -> Snapshot:
    gallery = open_gallery()
    gallery.commit(
        [Operation(Kind.PUT, int(i), 1.0, row[None]) for i, row in zip(ids, rows, strict=True)]
    )
    return gallery.refresh()


def expected(
    rows: NDArray[np.float32], ids: NDArray[np.int64], threshold: float
) -> dict[tuple[int, int], float]:
    cosines = rows @ rows.T
    return {
        (min(a, b), max(a, b)): float(cosines[m, n])
        for (m, a), (n, b) in itertools.combinations(enumerate(ids.tolist()), 2)
        if cosines[m, n] >= threshold
    }


@pytest.fixture(scope="module")
def crowd() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """3,000 people, of whom 60 have a second record; rows and ids in no order."""
    rng = np.random.default_rng(1)
    rows = unit_rows(3000, DIMENSION, seed=1)
    again = rows[:60] + rng.uniform(0.2, 1.1, (60, 1)) * unit_rows(60, DIMENSION, seed=2)
    rows = np.concatenate([rows, again])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, rng.permutation(len(rows)).astype(np.int64) * 7


def test_two_records_of_one_photo_are_found_at_the_highest_threshold() -> None:
    rows = unit_rows(200, DIMENSION, seed=7)
    people = gallery_of(np.concatenate([rows, rows]), np.arange(400, dtype=np.int64))
    pairs = find(people, 1.0, 1000)
    assert {(p.a.id, p.b.id) for p in pairs.best} == {(n, n + 200) for n in range(200)}


def test_two_who_are_known_to_be_two_are_left_out_unless_they_are_more_alike() -> None:
    rows = unit_rows(1, DIMENSION, seed=1) + 0.4 * unit_rows(3, DIMENSION, seed=2)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gallery = open_gallery()
    gallery.commit([Operation(Kind.PUT, n, 1.0, row[None]) for n, row in enumerate(rows)])
    cosine = float(rows[0] @ rows[1])

    def found(threshold: float | None) -> set[tuple[int, int]]:
        details = {"threshold": threshold}
        gallery.commit([Operation(Kind.DISTINCT, 1, 2.0, sources=[0], details=details)])
        best = find(gallery.refresh(), 0.5, 9)
        assert best.found == len(best.best)
        return {(a.id, b.id) for a, b, _ in best.best}

    assert found(None) == {(0, 1), (0, 2), (1, 2)}
    assert found(cosine + 0.01) == {(0, 2), (1, 2)}
    assert found(cosine - 0.01) == {(0, 1), (0, 2), (1, 2)}


@pytest.mark.parametrize("block", [64, 1024])
def test_they_are_those_of_all_pairs_best_first(
    crowd: tuple[NDArray[np.float32], NDArray[np.int64]],
    block: int,
) -> None:
    rows, ids = crowd
    advanced: list[int] = []
    found = find(
        gallery_of(rows, ids), 0.7, 1000, advance=advanced.append, block=block, pairs_at_once=100
    )
    pairs = {(p.a.id, p.b.id): p.similarity for p in found.best}
    wanted = expected(rows, ids, 0.7)
    assert len(wanted) > 30
    assert pairs.keys() == wanted.keys()
    assert pairs == pytest.approx(wanted, abs=2e-3)
    similarities = [p.similarity for p in found.best]
    assert similarities == sorted(similarities, reverse=True)
    assert (found.found, found.next) == (len(wanted), None)
    assert sum(advanced) == len(rows)


def test_the_best_pairs_are_listed_up_to_the_limit(
    crowd: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    snapshot = gallery_of(*crowd)
    everything = find(snapshot, 0.7, 1000, block=64)
    assert find(snapshot, 0.7, 5, block=64) == (everything.best[:5], everything.found, None)


def test_parts_make_the_whole(crowd: tuple[NDArray[np.float32], NDArray[np.int64]]) -> None:
    snapshot = gallery_of(*crowd)
    parts: list[Pair] = []
    next_: int | None = -1
    while next_ is not None:
        after = next_
        part = find(snapshot, 0.7, 1000, after=after, people=700)
        assert all(p.a.id > after for p in part.best)
        parts += part.best
        next_ = part.next
    assert sorted(parts, key=lambda p: -p.similarity) == find(snapshot, 0.7, 1000).best


def test_a_deleted_person_is_no_duplicate() -> None:
    gallery = open_gallery()
    gallery.commit([put(1, seed=1, name="Ada"), put(2, seed=1), put(3, seed=1)])
    gallery.commit([Operation(Kind.DELETE, 2, 2.0)])
    found = find(gallery.refresh(), 0.9, 10)
    assert [(p.a.name, p.a.id, p.b.id) for p in found.best] == [("Ada", 1, 3)]


@pytest.mark.parametrize("people", [0, 1])
def test_nobody_to_compare(people: int) -> None:
    gallery = open_gallery()
    gallery.commit([put(n) for n in range(people)])
    assert find(gallery.refresh(), -1, 10) == ([], 0, None)
    assert find(gallery.refresh(), -1, 10, after=5) == ([], 0, None)
