"""Slots, through the people in them: shared by a fork, given back, used again."""

from __future__ import annotations

import numpy as np
import pytest

from serving.gallery import blocks
from serving.gallery.blocks import Blocks
from serving.gallery.segment import Kind, Operation, Segment
from serving.gallery.snapshot import Snapshot
from serving.gallery.state import People
from tests.support.people import DIMENSION, put, unit_rows


def people_of(*operations: Operation) -> People:
    people = People(DIMENSION)
    people.apply(Segment.of(operations, DIMENSION))
    return people


def told(snapshot: Snapshot) -> dict[int, tuple[str | None, int]]:
    return {p.id: (p.name, p.photos) for p in snapshot.list(999)}


def used(people: People) -> int:
    return people._slots.used


def text_of(people: People) -> bytes:
    return bytes(people._slots.details._bytes)


class TestBlocks:
    @pytest.fixture
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(blocks, "_BITS", 2)
        monkeypatch.setattr(blocks, "_ROWS", 4)

    def test_rows_are_where_they_were_put(self, small: None) -> None:
        made = Blocks(10, 3)
        slots = np.array([9, 0, 5, 4, 1])
        values = np.arange(15, dtype=np.float16).reshape(5, 3)
        made[slots] = values
        np.testing.assert_array_equal(made[slots[::-1]], values[::-1])
        np.testing.assert_array_equal(made.row(5), values[2])
        made[slots[:2]] = 0
        assert not made[slots[:2]].any()
        assert made[slots[:0]].shape == (0, 3)

    def test_growing_copies_nothing(self, small: None) -> None:
        made = Blocks(4, 3)
        grown = made.grown(9)
        grown[np.array([1, 8])] = np.ones((2, 3), np.float16)
        assert made.row(1).all()
        assert grown.row(8).all()


class TestFork:
    def test_who_is_the_same_in_both_is_in_memory_once(self) -> None:
        everybody = [put(n, 1 + n % 3, name=f"N{n}") for n in range(30)]
        people = people_of(*everybody)
        before, text = used(people), text_of(people)
        people.snapshot(1)
        with people.forked(empty=True) as fork:
            fork.apply(Segment.of(everybody, DIMENSION))
        assert (used(fork), text_of(fork)) == (before, text)
        assert told(fork.snapshot(2)) == told(people_of(*everybody).snapshot(2))

    def test_who_changed_or_is_gone_is_not_shared(self) -> None:
        old = Operation(Kind.PUT, 5, 1.0, unit_rows(1, DIMENSION), details={"name": "A"})
        people = people_of(put(1), put(2, name="B"), put(3), old)
        shown = people.snapshot(1)
        now = [put(1), put(2, name="C"), put(4), put(5, seed=77)]
        with people.forked(empty=True) as fork:
            fork.apply(Segment.of(now, DIMENSION))
        assert used(fork) == 4 + 3
        assert told(shown) == {1: (None, 1), 2: ("B", 1), 3: (None, 1), 5: ("A", 1)}
        after = fork.snapshot(2)
        assert told(after) == {1: (None, 1), 2: ("C", 1), 4: (None, 1), 5: (None, 1)}
        for person, seed in ((1, 1), (4, 4), (5, 77)):
            ids = after.search(unit_rows(1, DIMENSION, seed=seed), 1).ids
            assert ids.tolist() == [[person]]
        del shown
        fork.overwrite_dead()
        assert told(after) == told(fork.snapshot(3))
        assert b'"B"' not in text_of(fork)

    @pytest.mark.parametrize("empty", [True, False])
    def test_of_one_that_is_given_up_nothing_is_left(self, empty: bool) -> None:
        people = people_of(*(put(n, name=f"N{n}") for n in range(1500)))
        people.apply(Segment.of([Operation(Kind.DELETE, 3, 1.0)], DIMENSION))
        people.overwrite_dead()  # one free slot
        shown, text = people.snapshot(1), text_of(people)
        rows = unit_rows(400, DIMENSION, seed=99_999)
        more = [
            Operation(Kind.PUT, 2000 + n, 1.0, row[None], details={"name": "secret"})
            for n, row in enumerate(rows)
        ]

        def give_up() -> None:
            with people.forked(empty=empty) as fork:
                fork.apply(Segment.of([put(7, name="N7"), *more], DIMENSION))
                assert len(fork) == (401 if empty else 1499 + 400)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            give_up()
        assert text_of(people) == text
        assert told(shown) == told(people.snapshot(2))
        assert len(people) == 1499
        capacity = len(people._slots.columns.ids)
        left = people._slots.columns.centroids[np.arange(capacity)].astype(np.float32)
        written = left[np.isfinite(left).all(axis=1) & (np.abs(left).max(axis=1) <= 1)]
        assert not (written @ rows.T > 0.99).any()

    def test_one_that_is_not_empty_goes_on_from_the_same_people(self) -> None:
        people = people_of(put(1, name="A"), put(2))
        shown = people.snapshot(1)
        with people.forked(empty=False) as fork:
            fork.apply(Segment.of([put(3), Operation(Kind.DELETE, 2, 1.0)], DIMENSION))
        assert set(told(shown)) == {1, 2}
        assert told(fork.snapshot(2)) == {1: ("A", 1), 3: (None, 1)}


class TestReuse:
    def test_memory_does_not_grow_with_the_number_of_changes(self) -> None:
        people = people_of(*(put(n) for n in range(100)))
        for step in range(60):
            again = [put(n, seed=1000 * step + n, name=f"N{step}" * 40) for n in range(100)]
            people.apply(Segment.of(again, DIMENSION))
            snapshot = people.snapshot(step)
            people.overwrite_dead()
        assert len(snapshot) == 100
        assert used(people) <= 300

    def test_details_that_were_replaced_take_no_memory(self) -> None:
        people = people_of(*(put(n) for n in range(50)))
        searching = None
        for step in range(100):
            again = [put(n, name=f"{n}-{step}-" + "x" * 1000) for n in range(50)]
            people.apply(Segment.of(again, DIMENSION))
            snapshot = people.snapshot(step)
            searching = searching or snapshot
            people.overwrite_dead()
        assert len(text_of(people)) < 4 * 2**20  # of 5 MB that were written
        assert {p.name for p in snapshot.list(99)} == {f"{n}-99-" + "x" * 1000 for n in range(50)}
        assert searching is not None
        assert {p.name for p in searching.list(99)} == {f"{n}-0-" + "x" * 1000 for n in range(50)}

    def test_after_most_are_gone_the_others_are_packed(self) -> None:
        people = people_of(*(put(n, name=f"N{n}") for n in range(3000)))
        gone = [Operation(Kind.DELETE, n, 1.0) for n in range(2900)]
        before = people.snapshot(1)
        people.apply(Segment.of(gone, DIMENSION))
        people.pack()
        after = people.snapshot(2)
        assert used(people) == 100
        assert told(after) == {n: (f"N{n}", 1) for n in range(2900, 3000)}
        probe = unit_rows(1, DIMENSION, seed=2950)
        assert after.search(probe, 1).ids.tolist() == [[2950]]
        assert len(told(before)) == 999
