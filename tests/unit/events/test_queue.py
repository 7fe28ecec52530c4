"""The queue in the bucket."""

from __future__ import annotations

import pytest

from serving.errors import GalleryCorrupt
from serving.events.queue import Queue
from tests.support.events import made
from tests.support.memory_store import MemoryStore


def test_what_was_put_is_read_in_order_until_it_is_removed() -> None:
    queue = Queue(MemoryStore(), "events", lambda: 1000.0)
    keys = [queue.put([made(n)]) for n in range(12)]
    assert queue.listed() == keys
    found = queue.read(keys[3])
    assert found is not None
    assert (found.queued, list(found.events)) == (1000.0, [made(3)])
    queue.remove(keys[3])
    assert queue.read(keys[3]) is None
    assert keys[3] not in queue.listed()


def test_what_was_given_up_can_be_queued_again() -> None:
    queue = Queue(MemoryStore(), "events", lambda: 1000.0)
    queue.bury(made(7), 500.0, 3, "status 500")
    queue.bury(made(7), 500.0, 3, "status 500")  # killed before the queue was told
    ((key, dead),) = queue.dead()
    assert (dead.event, dead.queued, dead.tries, dead.problem) == (made(7), 500.0, 3, "status 500")
    queue.revive(key)
    assert list(queue.dead()) == []
    (again,) = queue.listed()
    found = queue.read(again)
    assert found is not None
    assert list(found.events) == [made(7)]
    for other in (key, again):
        with pytest.raises(GalleryCorrupt):
            queue.revive(other)


def test_a_damaged_object_is_an_error() -> None:
    store = MemoryStore()
    queue = Queue(store, "events")
    key = queue.put([made(1)])
    store.put(key, b"{")
    with pytest.raises(GalleryCorrupt):
        queue.read(key)
