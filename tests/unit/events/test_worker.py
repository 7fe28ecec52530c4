"""The worker: galleries followed and events delivered by one of several replicas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from serving.errors import Unavailable
from serving.events.queue import Queue
from serving.events.worker import Worker
from serving.gallery import Gallery
from tests.support.events import made, settings
from tests.support.memory_store import MemoryStore
from tests.support.people import LOCATION, put
from tests.support.trails import wait_until
from tests.support.webhooks import Watched, Webhook, receiving


class Replicas:
    def __init__(self, folder: Path, webhook: Webhook) -> None:
        self.store = MemoryStore()
        self.webhook = webhook
        self.watched = Watched()
        self.settings = settings(folder, webhook.url, poll_s=0.02, pause_s=0.02)

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        worker = Worker(self.settings, self.queue, "galleries", "ingress", self.watched)
        try:
            yield worker
        finally:
            worker.close(10)

    def queue(self) -> Queue:
        return Queue(self.store, "events")

    def enrol(self, *people: int) -> None:
        Gallery(self.store, "galleries", LOCATION).commit([put(n) for n in people])

    def delivered(self) -> list[int]:
        return [e["data"]["id"] for e in list(self.webhook.events)]


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[Replicas]:
    with receiving() as webhook:
        yield Replicas(tmp_path, webhook)


def test_a_change_and_a_look_up_are_delivered(replicas: Replicas) -> None:
    replicas.enrol(1)
    with replicas.worker():
        wait_until(lambda: "events/began.json" in replicas.store.objects)
        replicas.enrol(2)
        wait_until(lambda: replicas.delivered() == [2])
        replicas.queue().put([made(9)])
        wait_until(lambda: replicas.delivered() == [2, 9])
        wait_until(lambda: replicas.queue().listed() == [])
    assert replicas.watched.counts["queued"] == 1
    assert replicas.watched.counts["delivered"] == 2


def test_of_several_one_delivers_and_another_goes_on(replicas: Replicas) -> None:
    replicas.enrol(0)  # a new gallery would be found after seconds only
    with ExitStack() as others:
        with replicas.worker():
            wait_until(lambda: "events/began.json" in replicas.store.objects)
            for _ in range(2):
                others.enter_context(replicas.worker())
            replicas.enrol(1)
            wait_until(lambda: replicas.delivered() == [1])
        # The first one has stopped, and handed the lease on.
        replicas.enrol(2)
        wait_until(lambda: replicas.delivered() == [1, 2], 20)
    assert len(replicas.webhook.tries) == 2


def test_goes_on_after_the_store_was_away(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.events.worker._PAUSE_S", 0.05)

    def away(request: str, key: str) -> None:
        raise Unavailable("The store is away.")

    replicas.store.before = away
    with replicas.worker():
        wait_until(lambda: replicas.watched.problem)
        replicas.store.before = lambda request, key: None
        replicas.queue().put([made(1)])
        wait_until(lambda: replicas.delivered() == [1], 20)
