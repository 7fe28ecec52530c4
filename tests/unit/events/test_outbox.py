"""The outbox of look-ups."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.errors import Unavailable
from serving.events.outbox import Outbox
from serving.events.queue import Queue
from tests.support.events import made, settings
from tests.support.memory_store import MemoryStore
from tests.support.trails import wait_until
from tests.support.webhooks import Watched


class Bucket:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.watched = Watched()

    @property
    def people(self) -> list[int]:
        queue = Queue(self.store, "events")
        read = [queue.read(key) for key in queue.listed()]
        return [e["data"]["id"] for batch in read if batch is not None for e in batch.events]

    @contextmanager
    def outbox(self, folder: Path, **more: Any) -> Iterator[Outbox]:
        own = settings(folder, **{"flush_s": 3600.0, **more})
        outbox = Outbox(own, lambda: Queue(self.store, "events"), self.watched)
        yield outbox
        outbox.close(10)

    def away(self) -> Callable[[], None]:
        def refuse(request: str, key: str) -> None:
            raise Unavailable("The store is away.")

        self.store.before = refuse
        return lambda: setattr(self.store, "before", lambda request, key: None)


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def test_events_are_written_together_after_a_moment(bucket: Bucket, tmp_path: Path) -> None:
    with bucket.outbox(tmp_path, flush_s=0.05) as outbox:
        futures = [outbox.add([made(n)]) for n in range(5)]
        for future in futures:
            future.result(10)
        assert bucket.people == [0, 1, 2, 3, 4]
    assert bucket.watched.counts["queued"] == 5


def test_a_stop_in_good_order_writes_what_is_left(bucket: Bucket, tmp_path: Path) -> None:
    with bucket.outbox(tmp_path) as outbox:
        outbox.add([made(1), made(2)])
        assert bucket.people == []
    assert bucket.people == [1, 2]
    with pytest.raises(Unavailable):
        outbox.add([made(3)]).result(10)


def test_an_answer_can_wait_for_its_events(bucket: Bucket, tmp_path: Path) -> None:
    with bucket.outbox(tmp_path, before_answer=True) as outbox:
        outbox.add([made(1), made(2)]).result(10)
        assert bucket.people == [1, 2]


def test_while_the_store_is_away_events_wait_and_then_are_lost(
    bucket: Bucket, tmp_path: Path
) -> None:
    back = bucket.away()
    with bucket.outbox(tmp_path, flush_s=0.0, buffer_events=3) as outbox:
        first = outbox.add([made(1), made(2), made(3)])
        with pytest.raises(Unavailable):
            outbox.add([made(4)]).result(10)
        assert bucket.watched.counts["lost"] == 1
        assert not first.done()
        back()
        first.result(10)
    assert bucket.people == [1, 2, 3]


def test_what_a_stop_cannot_write_is_counted(bucket: Bucket, tmp_path: Path) -> None:
    bucket.away()
    own = settings(tmp_path, flush_s=0.0)
    outbox = Outbox(own, lambda: Queue(bucket.store, "events"), bucket.watched)
    outbox.add([made(1)])
    outbox.close(0.2)
    assert bucket.watched.counts["lost"] == 1


def test_a_caller_that_has_left_does_not_stop_it(bucket: Bucket, tmp_path: Path) -> None:
    with bucket.outbox(tmp_path, flush_s=0.05) as outbox:
        outbox.add([made(1)]).cancel()
        outbox.add([made(2)]).result(10)
        wait_until(lambda: bucket.people == [1, 2])


def test_taking_an_event_waits_for_nothing(bucket: Bucket, tmp_path: Path) -> None:
    taken, reached = threading.Event(), threading.Event()

    def held(request: str, key: str) -> None:
        reached.set()
        assert taken.wait(10)

    bucket.store.before = held
    with bucket.outbox(tmp_path, flush_s=0.0) as outbox:
        first = outbox.add([made(1)])
        assert reached.wait(10)
        for n in range(100):
            outbox.add([made(n)])
        assert not first.done()
        taken.set()
