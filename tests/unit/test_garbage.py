from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from serving import garbage
from serving.stages.calls import call, stage
from serving.stages.refs import Ref
from tests.support.stages import Held, Method


class Circle:
    def __init__(self) -> None:
        self.itself = self


@stage
class Hangs:
    async def hang(self, photo: Ref[int]) -> None:
        self.circle = Circle()
        self.left = weakref.ref(self.circle)
        try:
            await asyncio.sleep(10)
        finally:
            del self.circle


@pytest.fixture(autouse=True)
def _python_does_not_look(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(garbage, "SECONDS", 0.05)
    gc.disable()
    # What the other tests have loaded takes long to look through.
    gc.freeze()
    yield
    gc.unfreeze()
    gc.enable()


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When garbage was collected, by the loop's clock."""
    times: list[float] = []
    collect = gc.collect

    def note() -> None:
        times.append(asyncio.get_running_loop().time())
        collect()

    monkeypatch.setattr(gc, "collect", note)
    return times


async def _until(there: Callable[[], bool]) -> None:
    while not there():  # noqa: ASYNC110 (no event tells)
        await asyncio.sleep(0.005)


def test_what_a_call_leaves_that_is_given_up_goes_soon(collected: list[float]) -> None:
    made = Hangs()

    async def give_up() -> list[bool]:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(call(Method("decode", made.hang), Ref((Held(7),), False)), 0.01)
        left = [made.left() is not None]
        await _until(lambda: len(collected) >= 1)
        return [*left, made.left() is not None]

    assert asyncio.run(give_up()) == [True, False]


def test_what_a_thread_holds_on_to_goes_after_it(collected: list[float]) -> None:
    """It is no circle yet when the first collection runs."""

    async def give_up() -> list[bool]:
        circle = Circle()
        left = weakref.ref(circle)
        garbage.collect_soon()
        await _until(lambda: len(collected) >= 1)
        del circle
        found = [left() is not None]
        await _until(lambda: len(collected) >= 2)
        return [*found, left() is not None]

    assert asyncio.run(give_up()) == [True, False]


def test_many_are_collected_at_once_and_the_last_one_several_times(collected: list[float]) -> None:
    async def twice() -> float:
        loop = asyncio.get_running_loop()
        for _ in range(9):
            garbage.collect_soon()
        await _until(lambda: bool(collected))
        garbage.collect_soon()
        last = loop.time()
        await _until(lambda: loop not in garbage._asked)
        return last

    last = asyncio.run(twice())
    before = [time for time in collected if time <= last]
    after = [time for time in collected if time > last]
    assert len(before) == 1
    # Six where the last call came just after a collection; fewer where the machine is slow, since
    # there was more time between them.
    assert 1 <= len(after) <= 6
    assert after[-1] - last >= 5 * garbage.SECONDS


def test_what_is_there_at_the_start_is_left_out() -> None:
    before = gc.get_freeze_count()
    try:
        garbage.begin()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
