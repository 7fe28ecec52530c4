"""Results in the order of their items, few of them at once, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest

from serving.api.streams.ordered import InOrder
from serving.errors import BadRequest

SOON = 0.01


class Work:
    """A source of numbers, and work on them that a test ends."""

    def __init__(self, items: int, failure: Exception | None = None) -> None:
        self.items = items
        self.failure = failure
        self.taken = 0
        self.under_way: set[int] = set()
        self.cancelled: set[int] = set()
        self.gates = [asyncio.Event() for _ in range(items)]

    async def next(self) -> int | None:
        if self.taken == self.items:
            if self.failure is not None:
                raise self.failure
            return None
        self.taken += 1
        return self.taken - 1

    async def work(self, number: int, item: int) -> int:
        assert number == item
        self.under_way.add(number)
        try:
            await self.gates[number].wait()
        except asyncio.CancelledError:
            self.cancelled.add(number)
            raise
        finally:
            self.under_way.discard(number)
        return number * 10


def run(test: Callable[[], object]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_results_come_in_order_and_no_more_are_taken_than_fit() -> None:
    async def check() -> None:
        work = Work(10)
        ordered = InOrder(work.next, work.work, 3)
        async with aclosing(ordered.results()) as results:
            first = asyncio.ensure_future(anext(results))
            await asyncio.sleep(SOON)
            assert (work.taken, work.under_way) == (3, {0, 1, 2})
            work.gates[1].set()
            work.gates[2].set()
            await asyncio.sleep(SOON)
            # Done, but not given out: they hold their places.
            assert (work.taken, work.under_way, first.done()) == (3, {0}, False)
            assert ordered.busy
            for gate in work.gates:
                gate.set()
            assert [await first] + [r async for r in results] == [n * 10 for n in range(10)]
        assert not ordered.busy

    run(check)


def test_a_caller_who_takes_no_results_stops_the_source() -> None:
    async def check() -> None:
        work = Work(10)
        for gate in work.gates:
            gate.set()
        async with aclosing(InOrder(work.next, work.work, 3).results()) as results:
            assert await anext(results) == 0
            await asyncio.sleep(SOON)
            assert work.taken <= 4

    run(check)


def test_closing_cancels_what_is_under_way_and_waits_for_its_end() -> None:
    async def check() -> None:
        work = Work(10)
        async with aclosing(InOrder(work.next, work.work, 3).results()) as results:
            first = asyncio.ensure_future(anext(results))
            await asyncio.sleep(SOON)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
        assert work.cancelled == {0, 1, 2}
        assert not work.under_way
        assert len(asyncio.all_tasks()) == 1

    run(check)


def test_a_failure_of_the_source_comes_after_the_results_before_it() -> None:
    async def check() -> None:
        work = Work(2, BadRequest("cut"))
        async with aclosing(InOrder(work.next, work.work, 4).results()) as results:
            asyncio.get_running_loop().call_later(SOON, work.gates[1].set)
            asyncio.get_running_loop().call_later(2 * SOON, work.gates[0].set)
            assert [await anext(results), await anext(results)] == [0, 10]
            with pytest.raises(BadRequest, match="cut"):
                await anext(results)

    run(check)


def test_a_bug_in_the_work_is_raised() -> None:
    async def check() -> None:
        async def fail(number: int, item: int) -> int:
            raise ZeroDivisionError

        work = Work(3)
        with pytest.raises(ZeroDivisionError):
            async with aclosing(InOrder(work.next, fail, 2).results()) as results:
                await anext(results)

    run(check)
