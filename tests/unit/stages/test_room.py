"""Room in memory: never more than there is, in order, until the deadline."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from serving import deadline
from serving.errors import TimedOut, TooLarge
from serving.stages.room import Room

SECONDS = 10


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


class Holders:
    """Take room in threads, and hold it until they are let go."""

    def __init__(self, pool: ThreadPoolExecutor, room: Room) -> None:
        self.pool, self.room = pool, room
        self.got: list[int] = []

    def take(self, nbytes: int) -> tuple[Callable[[], None], Future[None]]:
        leave = threading.Event()

        def hold() -> None:
            with self.room.taken(nbytes):
                self.got.append(nbytes)
                assert leave.wait(SECONDS)

        future = self.pool.submit(contextvars.copy_context().run, hold)
        until = time.monotonic() + SECONDS
        while nbytes not in self.got and not self.room._waiting and not future.done():
            assert time.monotonic() < until
            time.sleep(0.001)
        return leave.set, future

    def wait_for(self, got: list[int]) -> None:
        until = time.monotonic() + SECONDS
        while self.got != got:
            assert time.monotonic() < until, self.got
            time.sleep(0.001)


def test_what_can_never_fit_is_refused_at_once() -> None:
    room = Room(10_000_000)
    refusal = pytest.raises(TooLarge, match="would take 11 MB of memory, and there are 10 MB")
    with refusal, room.taken(11_000_000):
        pass
    with room.taken(10_000_000):
        pass


def test_it_is_given_in_order(pool: ThreadPoolExecutor) -> None:
    """A small one that would fit stays behind a large one that came before."""
    holders = Holders(pool, Room(100))
    leave_first, first = holders.take(60)
    leave_large, large = holders.take(90)
    waiting = len(holders.room._waiting)
    leave_small, small = holders.take(5)
    assert waiting == 1
    assert holders.got == [60]
    leave_first()
    holders.wait_for([60, 90, 5])  # the two fit together
    for leave in (leave_large, leave_small):
        leave()
    for future in (first, large, small):
        future.result(SECONDS)


def test_one_whose_deadline_comes_makes_way(pool: ThreadPoolExecutor) -> None:
    holders = Holders(pool, Room(100))
    leave_first, first = holders.take(60)
    with deadline.until(time.monotonic() + 0.2):
        leave_large, large = holders.take(90)
    leave_small, small = holders.take(5)
    with pytest.raises(TimedOut):
        large.result(SECONDS)
    holders.wait_for([60, 5])
    leave_first()
    leave_large()
    leave_small()
    first.result(SECONDS)
    small.result(SECONDS)


def test_a_failure_gives_it_back() -> None:
    room = Room(100)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), room.taken(90):
            raise ZeroDivisionError


def test_many_at_once_never_take_more(pool: ThreadPoolExecutor) -> None:
    room, lock, taken, most = Room(100), threading.Lock(), [0], [0]

    def work(nbytes: int) -> None:
        with room.taken(nbytes):
            with lock:
                taken[0] += nbytes
                most[0] = max(most[0], taken[0])
            time.sleep(0.001)
            with lock:
                taken[0] -= nbytes

    list(pool.map(work, [30, 70, 10, 50, 100, 20] * 10))
    assert 50 < most[0] <= 100
