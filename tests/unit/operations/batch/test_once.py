"""Objects that are written once."""

from __future__ import annotations

import pytest

from serving.errors import Unavailable
from serving.operations.batch.once import create
from tests.support.memory_store import MemoryStore


def test_of_two_runs_the_first_one_writes() -> None:
    store = MemoryStore()
    assert create(store, "a", b"1", {"run": "x"})
    assert not create(store, "a", b"2", {"run": "y"})
    assert store.get("a").data == b"1"


def test_a_write_whose_reply_got_lost_is_known_again() -> None:
    store = MemoryStore()
    lost = [Unavailable("The object store cannot be reached.")]

    def after(request: str, key: str) -> None:
        if request == "put" and lost:
            raise lost.pop()

    store.after = after
    slept: list[float] = []
    assert create(store, "a", b"1", {"run": "x"}, slept.append)
    assert len(slept) == 1


def test_a_store_that_stays_away_is_told() -> None:
    store = MemoryStore()

    def away(request: str, key: str) -> None:
        raise Unavailable("The object store cannot be reached.")

    store.before = away
    slept: list[float] = []
    with pytest.raises(Unavailable):
        create(store, "a", b"1", {"run": "x"}, slept.append)
    assert slept == sorted(slept)
