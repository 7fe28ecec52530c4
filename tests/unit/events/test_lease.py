"""The lease of those who deliver."""

from __future__ import annotations

import pytest

from serving.errors import Unavailable
from serving.events.lease import Lease
from tests.support.clock import Clock
from tests.support.memory_store import MemoryStore

KEY = "events/lease.json"


def lease(store: MemoryStore, name: str, clock: Clock) -> Lease:
    return Lease(store, KEY, name, 16.0, monotonic=clock)


def test_one_has_it_until_it_is_silent_for_its_life() -> None:
    store, clock = MemoryStore(), Clock(100.0)
    a, b = lease(store, "a", clock), lease(store, "b", clock)
    assert a.hold()
    for _ in range(20):
        clock.now += 3
        assert a.hold()
        assert not b.hold()
    # a is killed
    clock.now += 15
    assert not b.hold()
    clock.now += 2
    assert b.hold()
    # a slept only
    assert not a.hold()
    assert b.hold()


def test_who_stops_hands_it_on_at_once() -> None:
    store, clock = MemoryStore(), Clock()
    a, b = lease(store, "a", clock), lease(store, "b", clock)
    assert a.hold()
    assert not b.hold()
    a.release()
    clock.now += 2
    assert b.hold()
    a.release()  # has nothing any more
    assert b.hold()


def test_a_lost_reply_does_not_lose_it() -> None:
    store, clock = MemoryStore(), Clock()
    a = lease(store, "a", clock)
    assert a.hold()

    def lose(request: str, key: str) -> None:
        if request == "put":
            raise Unavailable("The reply is lost.")

    store.after = lose
    clock.now += 5
    assert a.hold()
    store.after = lambda request, key: None
    clock.now += 1
    assert a.hold() or a.hold()


def test_while_the_store_is_away_it_ends_before_another_one_takes_it() -> None:
    store, clock = MemoryStore(), Clock()
    a = lease(store, "a", clock)
    assert a.hold()

    def away(request: str, key: str) -> None:
        raise Unavailable("The store is away.")

    store.before = away
    clock.now += 5
    assert a.hold()
    clock.now += 5
    with pytest.raises(Unavailable):
        a.hold()
    store.before = lambda request, key: None
    clock.now += 2
    assert a.hold()


def test_a_damaged_lease_is_taken() -> None:
    store = MemoryStore()
    store.put(KEY, b"[]")
    assert lease(store, "a", Clock()).hold()
