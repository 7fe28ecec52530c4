"""Marks by which nobody's photos are appended twice."""

from __future__ import annotations

import pytest

from serving.gallery.store import StoreAway
from serving.operations.batch.job import Place
from serving.operations.batch.marks import Interrupted, Marks
from serving.operations.batch.patience import Patience, PatientStore
from tests.support.memory_store import MemoryStore
from tests.unit.operations.batch.results import OUT


def marks(store: MemoryStore) -> Marks:
    return Marks(Place(store, OUT), sleep=lambda seconds: None)


def test_a_person_who_is_done_has_a_line_for_every_later_run() -> None:
    store = MemoryStore()
    first = marks(store)
    assert first.begin(7) is None
    first.end(7, {"person": 7})
    assert marks(store).begin(7) == {"person": 7}
    assert marks(store).begin(8) is None


def test_a_run_that_was_stopped_leaves_the_outcome_open() -> None:
    store = MemoryStore()
    assert marks(store).begin(7) is None
    with pytest.raises(Interrupted, match="look which ones are there"):
        marks(store).begin(7)


def test_a_mark_that_is_taken_again_is_known_when_its_reply_is_lost() -> None:
    store = MemoryStore()
    first = marks(store)
    first.begin(7)
    first.give_back(7)
    now = 0.0
    said: list[str] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    puts = 0

    def lost(request: str, key: str) -> None:
        nonlocal puts
        puts += request == "put"
        if request == "put" and puts == 1:
            raise StoreAway("The object store cannot be reached.")

    store.after = lost
    patience = Patience(100, said.append, sleep, lambda: now)
    again = Marks(Place(PatientStore(store, OUT.prefix, patience), OUT), sleep)
    assert again.begin(7) is None
    assert puts == 1
    assert len(said) == 1


def test_whoever_is_given_back_is_begun_again_by_one_run() -> None:
    store = MemoryStore()
    first = marks(store)
    first.begin(7)
    first.give_back(7)
    second, third = marks(store), marks(store)
    entered = False

    def between(request: str, key: str) -> None:
        nonlocal entered
        if request == "get" and not entered:
            entered = True
            assert third.begin(7) is None

    store.after = between
    with pytest.raises(Interrupted):
        second.begin(7)
    assert entered
