"""Deliveries from the queue: order, failures, the end of patience, and kills in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serving.errors import Unavailable
from serving.events.dispatcher import Dispatcher
from serving.events.queue import Queue
from serving.events.receiver import Receiver
from serving.gallery.store import Entry
from tests.support.events import made, settings
from tests.support.memory_store import MemoryStore
from tests.support.webhooks import Watched, Webhook, receiving, taken


class Listed(MemoryStore):
    """Counts how often it is listed."""

    lists = 0

    def list(self, prefix: str) -> Iterator[Entry]:
        self.lists += 1
        return super().list(prefix)


class Deliveries:
    """A queue with a clock, and dispatchers to one receiver."""

    def __init__(self, folder: Path, webhook: Webhook) -> None:
        self.now = 1_000_000.0
        self.store = MemoryStore()
        self.queue = Queue(self.store, "events", lambda: self.now)
        self.webhook = webhook
        self.watched = Watched()
        self.settings = settings(folder, webhook.url, max_age_s=3600.0, max_pause_s=60.0)
        self.receiver = Receiver(self.settings, lambda: self.now)

    def dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self.queue,
            self.receiver,
            self.settings,
            self.watched,
            clock=lambda: self.now,
            spread=lambda: 0.0,
        )

    def people(self) -> list[int]:
        return [event["data"]["id"] for event in self.webhook.events]

    def run(self, dispatcher: Dispatcher, until: Callable[[], Any], steps: int = 1000) -> None:
        """Steps, and waits between them, until it holds."""
        for _ in range(steps):
            if until():
                return
            self.now += dispatcher.step()
        raise AssertionError(self.watched.counts)


@pytest.fixture
def deliveries(tmp_path: Path) -> Iterator[Deliveries]:
    with receiving() as webhook:
        made_of = Deliveries(tmp_path, webhook)
        with closing(made_of.receiver):
            yield made_of


def test_events_arrive_in_order_and_leave_the_queue(deliveries: Deliveries) -> None:
    d = deliveries.dispatcher()
    for batch in ([1, 2, 3], [4], [5, 6]):
        deliveries.queue.put([made(n) for n in batch])
    deliveries.run(d, lambda: len(deliveries.people()) == 6)
    assert deliveries.people() == [1, 2, 3, 4, 5, 6]
    assert deliveries.queue.listed() == []
    deliveries.queue.put([made(7)])
    deliveries.run(d, lambda: deliveries.people()[6:] == [7])
    assert deliveries.watched.counts["delivered"] == 7
    assert d.lag_s == 0
    assert d.step() > 0


def test_while_the_receiver_is_away_the_order_stays_and_pauses_grow(
    deliveries: Deliveries,
) -> None:
    d = deliveries.dispatcher()
    deliveries.webhook.answer = lambda event: (503, {})
    deliveries.queue.put([made(1), made(2)])
    pauses = []
    while len(deliveries.webhook.tries) < 6:
        pause = d.step()
        if pause:
            pauses.append(pause)
        deliveries.now += pause
    assert pauses == [1, 2, 4, 8, 16]
    assert {tried for tried, _ in deliveries.webhook.tries} == {made(1)["id"]}
    assert (d.problem, d.lag_s) == (True, 31)
    deliveries.webhook.answer = taken
    deliveries.run(d, lambda: deliveries.people() == [1, 2])
    assert not d.problem


def test_retry_after_is_respected(deliveries: Deliveries) -> None:
    d = deliveries.dispatcher()
    deliveries.webhook.answer = lambda event: (429, {"Retry-After": "100"})
    deliveries.queue.put([made(1)])
    d.step()
    assert d.step() == 100
    deliveries.webhook.answer = taken
    deliveries.now += 99
    assert d.step() == 1
    assert deliveries.people() == []
    deliveries.now += 1
    d.step()
    assert deliveries.people() == [1]


def test_an_event_that_is_refused_does_not_hold_up_the_others(deliveries: Deliveries) -> None:
    d = deliveries.dispatcher()

    def answer(event: dict[str, Any]) -> tuple[int, dict[str, str]]:
        return (500 if event["data"]["id"] == 2 else 204), {}

    deliveries.webhook.answer = answer
    deliveries.queue.put([made(n) for n in (1, 2, 3)])
    deliveries.run(d, lambda: deliveries.people() == [1, 3])
    deliveries.webhook.answer = taken
    deliveries.run(d, lambda: deliveries.people() == [1, 3, 2])


def test_an_event_by_which_the_receiver_breaks_lets_others_pass(deliveries: Deliveries) -> None:
    d = deliveries.dispatcher()

    def answer(event: dict[str, Any]) -> tuple[int, dict[str, str]]:
        return (502 if event["data"]["id"] == 1 else 204), {}

    deliveries.webhook.answer = answer
    deliveries.queue.put([made(1), made(2)])
    deliveries.run(d, lambda: deliveries.people() == [2])
    assert deliveries.now < 1_000_000 + 3600


def test_a_receiver_that_refuses_everything_is_left_alone(deliveries: Deliveries) -> None:
    d = deliveries.dispatcher()
    deliveries.webhook.answer = lambda event: (500, {})
    deliveries.queue.put([made(n) for n in range(50)])
    for _ in range(10):
        deliveries.now += d.step()
    assert d.problem
    assert len(deliveries.webhook.tries) == 9
    deliveries.webhook.answer = taken
    deliveries.run(d, lambda: len(deliveries.people()) == 50)


def test_one_event_that_is_refused_for_long_does_not_hold_up_new_ones(
    deliveries: Deliveries,
) -> None:
    d = deliveries.dispatcher()

    def answer(event: dict[str, Any]) -> tuple[int, dict[str, str]]:
        return (500 if event["data"]["id"] == 1 else 204), {}

    deliveries.webhook.answer = answer
    deliveries.queue.put([made(1)])
    deliveries.run(d, lambda: len(deliveries.webhook.tries) == 20, 9999)
    deliveries.queue.put([made(2)])
    before = deliveries.now
    deliveries.run(d, lambda: deliveries.people() == [2])
    assert deliveries.now - before <= 2


def test_what_is_too_old_is_given_up_and_kept_aside(deliveries: Deliveries) -> None:
    d = deliveries.dispatcher()
    deliveries.webhook.answer = lambda event: (422, {})
    deliveries.queue.put([made(1)])
    deliveries.run(d, lambda: deliveries.watched.counts["dead"], 9999)
    assert deliveries.now >= 1_000_000 + 3600
    assert deliveries.queue.listed() == []
    ((key, dead),) = deliveries.queue.dead()
    assert (dead.event, dead.problem) == (made(1), "status 422")
    assert dead.tries == deliveries.watched.counts["failed"] == len(deliveries.webhook.tries)
    deliveries.webhook.answer = taken
    deliveries.queue.revive(key)
    deliveries.run(d, lambda: deliveries.people() == [1])


def test_after_a_long_outage_all_old_events_are_given_up_together(deliveries: Deliveries) -> None:
    d = deliveries.dispatcher()
    deliveries.webhook.answer = lambda event: (503, {})
    deliveries.queue.put([made(n) for n in range(20)])
    deliveries.now += 3000
    deliveries.queue.put([made(50)])
    deliveries.now += 700
    d.step()
    assert len(list(deliveries.queue.dead())) == 20
    deliveries.webhook.answer = taken
    deliveries.run(d, lambda: deliveries.people() == [50])


def test_killed_after_a_delivery_it_is_delivered_again(deliveries: Deliveries) -> None:
    deliveries.queue.put([made(1), made(2), made(3)])
    killed = deliveries.dispatcher()
    killed.step()
    killed.step()
    assert deliveries.people() == [1, 2]
    deliveries.run(deliveries.dispatcher(), lambda: not deliveries.queue.listed())
    assert deliveries.people() == [1, 2, 1, 2, 3]
    assert len({tried for tried, _ in deliveries.webhook.tries}) == 3


def test_two_at_once_lose_nothing(deliveries: Deliveries) -> None:
    for n in range(10):
        deliveries.queue.put([made(n)])
    a, b = deliveries.dispatcher(), deliveries.dispatcher()
    while deliveries.queue.listed():
        deliveries.now += a.step()
        deliveries.now += b.step()
    assert set(deliveries.people()) == set(range(10))
    assert len(deliveries.people()) <= 20


def test_a_store_that_goes_away_after_a_delivery_costs_no_second_one(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    d = deliveries.dispatcher()
    deliveries.queue.put([made(1)])
    purge = deliveries.store.purge

    def away(key: str) -> None:
        raise Unavailable("The store is away.")

    deliveries.store.purge = away  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        d.step()
    deliveries.store.purge = purge  # type: ignore[method-assign]
    d.step()
    assert deliveries.people() == [1]
    assert deliveries.queue.listed() == []


def test_a_damaged_object_is_left_and_told(deliveries: Deliveries) -> None:
    d = deliveries.dispatcher()
    key = deliveries.queue.put([made(1)])
    deliveries.store.put(key, b"{")
    deliveries.queue.put([made(2)])
    deliveries.run(d, lambda: deliveries.people() == [2])
    assert d.problem
    assert deliveries.queue.listed() == [key]
    deliveries.queue.remove(key)
    deliveries.queue.put([made(3)])
    deliveries.run(d, lambda: deliveries.people() == [2, 3])
    assert not d.problem


def test_more_objects_than_are_in_memory(deliveries: Deliveries) -> None:
    store = Listed()
    deliveries.store = deliveries.queue.store = store
    d = deliveries.dispatcher()
    for n in range(150):
        deliveries.queue.put([made(n)])
    deliveries.run(d, lambda: len(deliveries.people()) == 150)
    assert deliveries.people() == list(range(150))
    assert store.lists == 1


def test_of_who_has_lost_the_lease_nothing_stays(deliveries: Deliveries) -> None:
    d = deliveries.dispatcher()
    deliveries.webhook.answer = lambda event: (503, {})
    deliveries.queue.put([made(1)])
    d.step()
    deliveries.webhook.answer = taken
    deliveries.run(deliveries.dispatcher(), lambda: deliveries.people() == [1])
    d.forget()
    deliveries.now += 100
    d.step()
    assert deliveries.people() == [1]
