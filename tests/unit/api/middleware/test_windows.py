"""How many look-ups of a caller are let in."""

from __future__ import annotations

import heapq
import random
from contextlib import ExitStack

import pytest

from serving.api.middleware.windows import LEAST, Windows
from serving.errors import Overloaded
from serving.pipeline.timings import Timings
from serving.pipeline.units import Meter
from tests.support.clock import Clock

MOST, MAX_WAIT = 48, 2.0
WORK_MS = 100.0


class Caller:
    """Its look-ups that are under way."""

    def __init__(self, windows: Windows, name: str = "a") -> None:
        self._windows = windows
        self._name = name

    def begin(self) -> tuple[ExitStack, Meter] | None:
        """None: it is refused."""
        if (refusal := self._windows.refusal(self._name)) is not None:
            assert isinstance(refusal, Overloaded)
            return None
        stack, meter = ExitStack(), Meter()
        stack.enter_context(self._windows.taken(self._name, meter))
        return stack, meter

    def fill(self) -> list[tuple[ExitStack, Meter]]:
        """As many as are let in."""
        begun = []
        while (one := self.begin()) is not None:
            begun.append(one)
            assert len(begun) <= 1000
        return begun

    def room(self) -> int:
        """How many would be let in; they end as if they had met an error."""
        begun = self.fill()
        for look_up in begun:
            answered(look_up, None)
        return len(begun)


def answered(look_up: tuple[ExitStack, Meter], waited_ms: float | None, photos: int = 1) -> None:
    stack, meter = look_up
    if waited_ms is not None:
        meter.photos = photos
        meter.timings = Timings(
            ms={"read": 9000.0, "detect": WORK_MS + waited_ms, "gallery": 9000.0},
            work_ms={"detect": WORK_MS},
        )
    stack.close()


def test_as_many_as_there_are_places_while_nobody_waits() -> None:
    caller = Caller(Windows(MAX_WAIT, MOST, Clock()))
    assert caller.room() == MOST
    for look_up in caller.fill():
        answered(look_up, 200.0)  # twice the work
    assert caller.room() == MOST


def test_what_waits_too_long_leaves_room_for_fewer() -> None:
    caller = Caller(Windows(MAX_WAIT, MOST, Clock()))
    begun = caller.fill()
    # The first of them are answered soon, but as one of 48 each of the last waits for 47.
    for look_up in begun[-4:]:
        answered(look_up, 10 * 250.0)
    assert caller.begin() is None
    for look_up in begun[:-4]:
        answered(look_up, None)
    assert LEAST <= caller.room() <= 8


def test_it_grows_again_slowly_while_what_is_let_in_is_answered_in_time() -> None:
    caller = Caller(Windows(MAX_WAIT, MOST, Clock()))
    for look_up in caller.fill():
        answered(look_up, 50_000.0)
    rooms = [caller.room()]
    for _ in range(10):
        for look_up in caller.fill():
            answered(look_up, 0.0)
        rooms.append(caller.room())
    assert rooms[0] == LEAST
    assert rooms == sorted(rooms)
    assert LEAST + 4 <= rooms[-1] <= LEAST + 10


def test_who_asks_one_at_a_time_has_no_larger_window_for_it() -> None:
    caller = Caller(Windows(MAX_WAIT, MOST, Clock()))
    for look_up in caller.fill():
        answered(look_up, 50_000.0)
    for _ in range(500):
        begun = caller.begin()
        assert begun is not None
        answered(begun, 0.0)
    assert caller.room() == LEAST


def test_a_caller_does_not_feel_the_window_of_another() -> None:
    windows = Windows(MAX_WAIT, MOST, Clock())
    greedy, other = Caller(windows, "greedy"), Caller(windows, "other")
    for look_up in greedy.fill():
        answered(look_up, 50_000.0)
    assert (greedy.room(), other.room()) == (LEAST, MOST)


def embedded(look_up: tuple[ExitStack, Meter], ms: float, faces: int = 1) -> None:
    stack, meter = look_up
    meter.photos, meter.faces = 1, faces
    meter.timings = Timings(ms={"detect": WORK_MS, "embed": ms}, work_ms={"detect": WORK_MS})
    stack.close()


def test_what_faces_wait_for_triton_is_told_by_the_time_of_those_that_were_alone() -> None:
    caller = Caller(Windows(MAX_WAIT, MOST, Clock()))
    alone = caller.begin()
    assert alone is not None
    embedded(alone, 30.0)
    for look_up in caller.fill():
        embedded(look_up, 8 * 30.0, faces=8)
    assert caller.room() == MOST
    for look_up in caller.fill():
        embedded(look_up, 20 * 250.0)
    assert caller.room() == LEAST


def test_others_beside_it_do_not_raise_what_a_face_takes() -> None:
    windows = Windows(MAX_WAIT, MOST, Clock())
    one, other = Caller(windows, "one"), Caller(windows, "other")
    for ms in (500.0, 30.0):  # the first request warms Triton up
        alone = one.begin()
        assert alone is not None
        embedded(alone, ms)
    for _ in range(100):
        first, second = one.begin(), other.begin()
        assert first is not None
        assert second is not None
        embedded(first, 400.0)
        embedded(second, 400.0)
    assert one.room() < MOST / 2


def test_until_anybody_was_alone_triton_is_not_waited_for() -> None:
    caller = Caller(Windows(MAX_WAIT, MOST, Clock()))
    for look_up in caller.fill():
        embedded(look_up, 5000.0)
    assert caller.room() == MOST


def test_who_was_away_begins_anew() -> None:
    clock = Clock()
    caller = Caller(Windows(MAX_WAIT, MOST, clock))
    for look_up in caller.fill():
        answered(look_up, 50_000.0)
    clock.now += 29
    assert caller.room() == LEAST
    clock.now += 31
    assert caller.room() == MOST


def test_photos_of_one_request_say_nothing() -> None:
    caller = Caller(Windows(MAX_WAIT, MOST, Clock()))
    for look_up in caller.fill():
        answered(look_up, 50_000.0, photos=2)
    assert caller.room() == MOST


def test_without_a_bound_only_places_count() -> None:
    windows = Windows(0, MOST, Clock())
    caller = Caller(windows)
    begun = [caller.begin() for _ in range(500)]
    assert None not in begun


@pytest.mark.parametrize("servers", [1, 2, 8])
@pytest.mark.parametrize("load", [0.5, 2.0, 5.0])
def test_whatever_comes_what_is_accepted_is_answered_soon_and_nobody_idles(
    servers: int, load: float
) -> None:
    """Photos of different work come by chance, and wait for one of the servers."""
    rng = random.Random(f"{servers} {load}")
    caller = Caller(Windows(MAX_WAIT, MOST, Clock()))
    busy_until = [0.0] * servers
    ends: list[tuple[float, int, float, tuple[ExitStack, Meter]]] = []
    now, refused, waits, worked = 0.0, 0, [], 0.0
    for number in range(4000):
        now += rng.expovariate(load * servers / WORK_MS)
        while ends and ends[0][0] <= now:
            _, _, waited, look_up = heapq.heappop(ends)
            answered(look_up, waited)
        begun = caller.begin()
        if begun is None:
            refused += 1
            continue
        start = max(now, heapq.heappop(busy_until))
        work = WORK_MS * rng.uniform(0.5, 1.5)
        heapq.heappush(busy_until, start + work)
        heapq.heappush(ends, (start + work, number, start - now, begun))
        waits.append(start - now)
        worked += work
    waits.sort()
    if load < 1:
        assert refused < 20
        return
    # Nearly all of those that were let in: not much longer than they may, or for the few that are
    # always let in.
    bound = max(2 * (MAX_WAIT * WORK_MS + 50), LEAST * WORK_MS / servers)
    assert waits[len(waits) * 95 // 100] < bound
    assert worked / (servers * now) > 0.9
