from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from serving.gallery.segment import Kind, Operation, Segment
from serving.gallery.snapshot import Snapshot
from serving.gallery.state import People
from tests.support.fuzzing import examples
from tests.support.people import DIMENSION, put, unit_rows
from tests.unit.gallery.strategies import SEGMENTS

# How far a cosine may be from the true one, since embeddings and centroids are kept in float16.
FLOAT16 = 5e-4


def state_of(*operations: Operation) -> Snapshot:
    people = People(DIMENSION)
    people.apply(Segment.of(operations, DIMENSION))
    return people.snapshot(1)


def test_the_nearest_come_first() -> None:
    snapshot = state_of(*(put(n) for n in range(50)))
    probes = unit_rows(3, DIMENSION, seed=99)
    ids, similarities, _ = snapshot.search(probes, 4)
    everybody = np.concatenate([unit_rows(1, DIMENSION, seed=n) for n in range(50)])
    cosines = probes @ everybody.T
    np.testing.assert_array_equal(ids, np.argsort(-cosines, axis=1)[:, :4])
    np.testing.assert_allclose(similarities, -np.sort(-cosines, axis=1)[:, :4], atol=FLOAT16)


@pytest.mark.parametrize("top_k", [1, 2, 3, 4])
def test_of_people_who_are_equally_near_the_lower_ids_come_first(top_k: int) -> None:
    (near, far) = unit_rows(2, DIMENSION)
    rows = {31: near, 12: near, 5: far, 20: near}
    snapshot = state_of(*(Operation(Kind.PUT, n, 1.0, row[None]) for n, row in rows.items()))
    ids, _, _ = snapshot.search(near[None], top_k)
    assert ids.tolist() == [[12, 20, 31, 5][:top_k]]


def test_nobody_is_found_in_an_empty_gallery() -> None:
    ids, similarities, _ = People(DIMENSION).snapshot(0).search(unit_rows(2, DIMENSION), 5)
    assert ids.shape == similarities.shape == (2, 0)


def test_no_probe() -> None:
    ids, _, _ = state_of(put(1)).search(np.empty((0, DIMENSION), np.float32), 5)
    assert ids.shape == (0, 1)


def test_among_many_the_best_are_those_of_comparing_everybody() -> None:
    everybody = clustered(20_000)
    snapshot = state_of(
        *(Operation(Kind.PUT, n, 1.0, row[None]) for n, row in enumerate(everybody))
    )
    probes = unit(everybody[::400] + 0.5 * unit_rows(50, DIMENSION, seed=5))
    ids, similarities, _ = snapshot.search(probes, 3)
    cosines = probes @ everybody.T
    np.testing.assert_array_equal(ids[:, 0], cosines.argmax(axis=1))
    found = np.sort(-cosines, axis=1)[:, :3]
    assert (np.abs(similarities + found) < FLOAT16).mean() > 0.97


def test_somebody_who_was_enrolled_again_and_again_is_found_among_many() -> None:
    people = People(DIMENSION)
    rows = clustered(10_000)
    everybody = [Operation(Kind.PUT, n, 1.0, row[None]) for n, row in enumerate(rows)]
    people.apply(Segment.of(everybody, DIMENSION))
    people.apply(Segment.of([everybody[7]] * 6000, DIMENSION))
    ids, similarities, _ = people.snapshot(2).search(rows[7:8], 2)
    assert ids[0, 0] == 7
    assert similarities[0, 0] == pytest.approx(1, abs=FLOAT16)
    assert ids[0, 1] != 7


def clustered(count: int) -> NDArray[np.float32]:
    """Unit vectors that lie, as embeddings do, in a part of the space only."""
    return unit(unit_rows(count, 20, seed=1) @ unit_rows(20, DIMENSION, seed=2))


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


def test_a_person_who_was_deleted_is_not_found() -> None:
    snapshot = state_of(put(1), put(2), Operation(Kind.DELETE, 1, 0.0))
    ids, _, _ = snapshot.search(unit_rows(1, DIMENSION, seed=1), 5)
    assert ids.tolist() == [[2]]
    assert snapshot.get(1) is None


def test_a_snapshot_never_changes() -> None:
    people = People(DIMENSION)
    people.apply(Segment.of([put(n, name=f"n{n}") for n in range(10)], DIMENSION))
    old = people.snapshot(1)
    probe = unit_rows(1, DIMENSION, seed=3)
    before = old.search(probe, 10)
    for step in range(300):  # past the first capacity, and past rebuilding
        people.apply(Segment.of([put(n, seed=step) for n in range(10)], DIMENSION))
    people.apply(Segment.of([Operation(Kind.CLEAR, 0, 0.0)], DIMENSION))
    ids, similarities, _ = old.search(probe, 10)
    np.testing.assert_array_equal(ids, before[0])
    np.testing.assert_array_equal(similarities, before[1])
    person = old.get(3)
    assert person is not None
    assert person.name == "n3"
    assert len(people.snapshot(2)) == 0


def test_replacing_keeps_the_name_and_the_day_of_enrolment() -> None:
    again = Operation(Kind.PUT, 1, 500.0, unit_rows(2, DIMENSION))
    person = state_of(put(1, name="Ada"), put(2), again).get(1)
    assert person is not None
    assert (person.name, person.created, person.updated) == ("Ada", 100.0, 500.0)
    assert person.photos == 2


def test_merging_keeps_what_the_target_says() -> None:
    merge = Operation(Kind.MERGE, 1, 9.0, sources=(2, 3, 1, 77))
    describe = Operation(Kind.DESCRIBE, 2, 8.0, details={"metadata": {"desk": 4}})
    snapshot = state_of(put(1, name="Ada"), put(2, 2, name="Eve"), put(3, 3), describe, merge)
    person = snapshot.get(1)
    assert person is not None
    assert (person.name, person.metadata, person.photos) == ("Ada", {"desk": 4}, 6)
    assert len(snapshot) == 1


def test_people_are_listed_by_id_in_pages() -> None:
    snapshot = state_of(*(put(n) for n in (9, 2, 7, 4, 11)))
    assert [p.id for p in snapshot.list(2)] == [2, 4]
    assert [p.id for p in snapshot.list(2, after=4)] == [7, 9]
    assert [p.id for p in snapshot.list(9, after=9)] == [11]
    assert snapshot.list(9, after=11) == []


def test_another_models_segment_is_refused() -> None:
    with pytest.raises(ValueError, match="numbers"):
        People(DIMENSION + 1).apply(Segment.of([put(1)], DIMENSION))


class Naive:
    """The same, the obvious way: everybody's rows in a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[int, Any] = {}

    def apply(self, o: Operation) -> None:
        if o.kind is Kind.PUT:
            self.rows[o.id] = o.embeddings
        elif o.kind is Kind.APPEND:
            self.rows[o.id] = np.concatenate([self.rows.get(o.id, o.embeddings[:0]), o.embeddings])  # type: ignore[index]
        elif o.kind in (Kind.DELETE, Kind.SPLIT):
            self.rows.pop(o.id, None)
        elif o.kind is Kind.MERGE:
            parts = [self.rows.pop(p) for p in {o.id, *o.sources} if p in self.rows]
            if parts:
                self.rows[o.id] = np.concatenate(parts)
        elif o.kind is Kind.CLEAR:
            self.rows.clear()


@pytest.mark.fuzz
@settings(max_examples=examples(200))
@given(SEGMENTS)
def test_any_operations_do_what_the_obvious_way_does(segments: list[list[Operation]]) -> None:
    people, naive = People(DIMENSION), Naive()
    for operations in segments:
        people.apply(Segment.of(operations, DIMENSION))
        for operation in operations:
            naive.apply(operation)
    snapshot = people.snapshot(1)
    assert [p.id for p in snapshot.list(99)] == sorted(naive.rows)
    for person, rows in naive.rows.items():
        found = snapshot.get(person)
        assert found is not None
        assert found.photos == len(rows)
        total = rows.sum(axis=0)
        if np.linalg.norm(total) > 0.01:
            probe = (total / np.linalg.norm(total))[None]
            ids, similarities, _ = snapshot.search(probe.astype(np.float32), len(naive.rows))
            assert similarities[0][ids[0] == person] == pytest.approx(1, abs=FLOAT16)


def test_slots_of_the_dead_are_overwritten_once_no_search_shows_them() -> None:
    people, rows = People(DIMENSION), unit_rows(3, DIMENSION, seed=3)
    history = [
        Operation(Kind.PUT, n, 1.0, rows[n : n + 1], details={"name": f"N{n}"}) for n in (1, 2)
    ]
    people.apply(Segment.of(history, DIMENSION))
    searching = people.snapshot(1)
    again = Operation(Kind.PUT, 2, 2.0, rows[:1], details={"name": "New"})
    people.apply(Segment.of([again], DIMENSION))
    people.apply(Segment.of([Operation(Kind.DELETE, 1, 2.0)], DIMENSION))
    now = people.snapshot(3)
    people.overwrite_dead()
    before = {p.id: p.name for p in searching.list(9)}
    assert before == {1: "N1", 2: "N2"}
    assert searching.search(rows[1:2], 1).ids.tolist() == [[1]]
    del searching
    people.overwrite_dead()
    assert [p.name for p in now.list(9)] == ["New"]
    left = now.centroids(np.arange(len(now.alive)))
    assert not (left @ rows[1:].T > 0.9).any()
    assert bytes(now._details._bytes).split() == [b'{"name":', b'"New"}']
    assert now.search(rows[1:2], 5).ids.tolist() == [[2]]
