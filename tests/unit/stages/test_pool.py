from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from serving import deadline
from serving.errors import Overloaded, TimedOut
from serving.stages.pool import Bounded, Together, Worked, work

T = TypeVar("T")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(coroutine, 10))


def raising(error: Exception) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


class TestWork:
    def test_it_takes_the_time_of_the_call_and_not_of_the_wait(
        self, pool: ThreadPoolExecutor
    ) -> None:
        async def both() -> tuple[Worked[None], Worked[None]]:
            return await asyncio.gather(
                work(pool, lambda: time.sleep(0.3)), work(pool, lambda: time.sleep(0.01))
            )

        first, second = run(both())
        assert first.ms >= 300
        assert 10 <= second.ms < 300

    def test_it_knows_of_the_request(self, pool: ThreadPoolExecutor) -> None:
        request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")

        async def named() -> str:
            request.set("abc-1")
            return (await work(pool, request.get)).result

        assert run(named()) == "abc-1"

    def test_what_waits_too_long_is_not_begun(self, pool: ThreadPoolExecutor) -> None:
        begun: list[int] = []

        async def late() -> None:
            with deadline.until(time.monotonic() + 0.2):
                blocking = asyncio.ensure_future(work(pool, lambda: time.sleep(0.4)))
                await asyncio.sleep(0)
                with pytest.raises(TimedOut):
                    await work(pool, lambda: begun.append(1))
                await blocking  # begun in time, and not broken off

        run(late())
        assert begun == []

    def test_an_error_is_the_callers(self, pool: ThreadPoolExecutor) -> None:
        with pytest.raises(ZeroDivisionError):
            run(work(pool, raising(ZeroDivisionError())))


class Calls:
    """Doubles what it is given, once ``go`` is set; knows what it was called with."""

    def __init__(self, go: bool = False) -> None:
        self.seen: list[tuple[str, list[str]]] = []
        self.begun = threading.Event()
        self.go = threading.Event()
        if go:
            self.go.set()

    def __call__(self, kind: str, items: Sequence[str]) -> list[str]:
        self.seen.append((kind, list(items)))
        self.begun.set()
        assert self.go.wait(10)
        if "bad" in items:
            raise ZeroDivisionError
        return [2 * item for item in items]

    async def started(self) -> None:
        await asyncio.to_thread(self.begun.wait, 10)


class TestTogether:
    def test_what_finds_a_thread_free_waits_for_nobody(self, pool: ThreadPoolExecutor) -> None:
        calls = Calls(go=True)

        async def one_by_one() -> list[str]:
            together = Together(pool, 1, calls, most=8)
            return [(await together.work("k", item)).result for item in "abc"]

        assert run(one_by_one()) == ["aa", "bb", "cc"]
        assert [items for _, items in calls.seen] == [["a"], ["b"], ["c"]]

    def test_what_waits_is_one_call_by_kind_and_no_more_than_fits(
        self, pool: ThreadPoolExecutor
    ) -> None:
        calls = Calls()
        items = [("k", "a"), ("k", "b"), ("m", "c"), ("k", "dd"), ("k", "e"), ("m", "fffff")]

        async def at_once() -> list[str]:
            together = Together(pool, 1, calls, most=3)
            asked = [asyncio.ensure_future(together.work(*item)) for item in items]
            await calls.started()
            calls.go.set()
            return [done.result for done in await asyncio.gather(*asked)]

        assert run(at_once()) == ["aa", "bb", "cc", "dddd", "ee", "ffffffffff"]
        assert calls.seen == [
            ("k", ["a"]),
            ("k", ["b", "dd"]),
            ("m", ["c"]),
            ("k", ["e"]),
            ("m", ["fffff"]),
        ]

    def test_as_many_calls_at_once_as_there_are_threads(self) -> None:
        both = threading.Barrier(2)

        def call(kind: str, items: Sequence[str]) -> Sequence[str]:
            both.wait(10)
            return items

        async def at_once(pool: ThreadPoolExecutor) -> None:
            together = Together(pool, 2, call, most=8)
            await asyncio.gather(together.work("k", "a"), together.work("k", "b"))

        with ThreadPoolExecutor(2) as pool:
            run(at_once(pool))

    def test_an_error_is_that_of_all_in_the_call_and_of_no_other(
        self, pool: ThreadPoolExecutor
    ) -> None:
        calls = Calls()

        async def at_once() -> list[Any]:
            together = Together(pool, 1, calls, most=8)
            first = asyncio.ensure_future(together.work("k", "a"))
            await calls.started()
            asked = [first, *(asyncio.ensure_future(together.work("k", i)) for i in ("b", "bad"))]
            await asyncio.sleep(0)
            calls.go.set()
            ended = await asyncio.gather(*asked, return_exceptions=True)
            return [*ended, await together.work("k", "c")]

        first, *failed, last = run(at_once())
        assert [first.result, last.result] == ["aa", "cc"]
        assert [type(error) for error in failed] == [ZeroDivisionError] * 2

    def test_nothing_is_done_for_who_has_left_or_waits_no_more(
        self, pool: ThreadPoolExecutor
    ) -> None:
        calls = Calls()

        async def at_once() -> str:
            together = Together(pool, 1, calls, most=8)
            first = asyncio.ensure_future(together.work("k", "a"))
            await calls.started()
            left = asyncio.ensure_future(together.work("k", "left"))
            with deadline.until(time.monotonic() + 0.05):
                late = asyncio.ensure_future(together.work("k", "late"))
            stays = asyncio.ensure_future(together.work("k", "b"))
            await asyncio.sleep(0.1)
            left.cancel()
            calls.go.set()
            await first
            with pytest.raises(TimedOut):
                await late
            return (await stays).result

        assert run(at_once()) == "bb"
        assert calls.seen == [("k", ["a"]), ("k", ["b"])]


class TestBounded:
    def test_what_finds_no_place_is_refused_at_once(self, pool: ThreadPoolExecutor) -> None:
        go = threading.Event()

        async def at_once() -> tuple[list[Any], str]:
            bounded = Bounded(pool, 2, "Later.")

            async def call() -> str:
                with bounded.place() as place:
                    return (await place.work(lambda: f"{go.wait(10)}")).result

            asked = [asyncio.ensure_future(call()) for _ in range(5)]
            await asyncio.sleep(0)
            refused = [task.exception() for task in asked if task.done()]
            go.set()
            ended = await asyncio.gather(*asked, return_exceptions=True)
            assert [e for e in ended if isinstance(e, str)] == ["True"] * 2
            return refused, await call()

        refused, again = run(at_once())
        assert [(type(error), str(error)) for error in refused] == [(Overloaded, "Later.")] * 3
        assert again == "True"

    def test_a_place_is_held_until_the_thread_has_ended(self, pool: ThreadPoolExecutor) -> None:
        go = threading.Event()

        async def at_once() -> None:
            bounded = Bounded(pool, 1, "Later.")

            async def call() -> None:
                with bounded.place() as place:
                    await place.work(lambda: go.wait(10))

            left = asyncio.ensure_future(call())
            await asyncio.sleep(0.05)
            left.cancel()
            await asyncio.wait([left])
            with pytest.raises(Overloaded):
                await call()
            go.set()
            await asyncio.sleep(0.05)
            await call()

        run(at_once())

    def test_an_error_before_the_call_frees_the_place(self, pool: ThreadPoolExecutor) -> None:
        async def at_once() -> str:
            bounded = Bounded(pool, 1, "Later.")
            with pytest.raises(ZeroDivisionError), bounded.place():
                raise ZeroDivisionError
            with bounded.place() as place:
                return (await place.work(lambda: "done")).result

        assert run(at_once()) == "done"
