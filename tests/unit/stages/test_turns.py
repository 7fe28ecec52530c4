"""Threads that callers get in turns."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving import deadline
from serving.actor import acting
from serving.errors import TimedOut
from serving.stages.turns import Turns

Send = Callable[[str, str], "asyncio.Task[str]"]


async def nothing() -> None:
    """What a call needs that needs nothing."""


async def taken(turns: Turns) -> tuple[asyncio.Future[Any], threading.Event]:
    """Take a thread with a call that runs until the event is set; the call, and the event."""
    over = threading.Event()
    with acting("holder"):
        call = asyncio.ensure_future(turns.work(nothing, lambda _: over.wait(10)))
    await asyncio.sleep(0.02)
    return call, over


async def in_turns(orders: Callable[[Send], Awaitable[None]], turns: Turns) -> list[str]:
    """Run ``orders`` while the only thread is taken, then let it go; returns what was done, in
    order."""
    done: list[str] = []
    sent: list[asyncio.Task[str]] = []

    async def one(caller: str, what: str) -> str:
        with acting(caller):
            await turns.work(nothing, lambda _: done.append(what))
        return what

    def send(caller: str, what: str) -> asyncio.Task[str]:
        sent.append(asyncio.ensure_future(one(caller, what)))
        return sent[-1]

    holder, over = await taken(turns)
    await orders(send)
    await asyncio.sleep(0.01)
    over.set()
    await holder
    await asyncio.wait_for(asyncio.gather(*sent, return_exceptions=True), 10)
    await asyncio.sleep(0.01)
    return done


def test_who_sends_much_waits_behind_himself() -> None:
    async def orders(send: Send) -> None:
        for n in range(4):
            send("greedy", f"greedy {n}")
        await asyncio.sleep(0)
        send("modest", "modest")

    done = asyncio.run(in_turns(orders, Turns(1, "test")))
    assert done == ["greedy 0", "modest", "greedy 1", "greedy 2", "greedy 3"]


def test_whose_last_turn_is_longest_ago_is_next() -> None:
    async def orders(send: Send) -> None:
        for caller in "abc":
            for n in range(2):
                send(caller, f"{caller}{n}")

    done = asyncio.run(in_turns(orders, Turns(1, "test")))
    assert done == ["a0", "b0", "c0", "a1", "b1", "c1"]


def test_who_goes_away_takes_no_turn() -> None:
    async def orders(send: Send) -> None:
        gone = [send("a", "gone"), send("b", "gone")]
        send("c", "here")
        await asyncio.sleep(0.01)
        for task in gone:
            task.cancel()

    turns = Turns(1, "test")
    assert asyncio.run(in_turns(orders, turns)) == ["here"]
    assert turns._free == 1


def test_one_that_goes_away_in_the_moment_of_its_turn_hands_it_on() -> None:
    async def run() -> None:
        turns = Turns(1, "test")
        release = asyncio.Event()

        async def get() -> None:
            await release.wait()
            raise ZeroDivisionError

        # Its call never begins, so its turn ends in the event loop and not in a thread.
        first = asyncio.ensure_future(turns.work(get, print))
        await asyncio.sleep(0.01)
        waiting = asyncio.ensure_future(turns.work(nothing, lambda _: "waiting"))
        behind = asyncio.ensure_future(turns.work(nothing, lambda _: "behind"))
        await asyncio.sleep(0.01)
        first.add_done_callback(lambda _: waiting.cancel())
        release.set()
        with pytest.raises(ZeroDivisionError):
            await first
        assert (await asyncio.wait_for(behind, 5)).result == "behind"
        await asyncio.wait([waiting], timeout=5)
        await asyncio.sleep(0.01)
        assert turns._free == 1

    asyncio.run(run())


def test_a_thread_whose_caller_has_gone_is_taken_until_its_call_ends() -> None:
    async def run() -> None:
        turns = Turns(1, "test")
        left, over = await taken(turns)
        left.cancel()
        waiting = asyncio.ensure_future(turns.work(nothing, lambda _: None))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        over.set()
        await asyncio.wait_for(waiting, 5)

    asyncio.run(run())


def test_what_a_call_needs_is_got_when_there_is_a_thread() -> None:
    async def run() -> None:
        turns = Turns(1, "test")
        got: list[int] = []

        async def get() -> int:
            got.append(7)
            return 7

        first, over = await taken(turns)
        second = asyncio.ensure_future(turns.work(get, lambda number: number + 1))
        await asyncio.sleep(0.02)
        assert got == []
        over.set()
        assert (await second).result == 8
        await first

    asyncio.run(run())


def test_waiting_ends_at_the_deadline() -> None:
    async def run() -> float:
        turns = Turns(1, "test")
        first, over = await taken(turns)
        start = time.monotonic()
        with deadline.until(start + 0.05), pytest.raises(TimedOut):
            await turns.work(nothing, lambda _: pytest.fail("there was no thread"))
        took = time.monotonic() - start
        over.set()
        await first
        await turns.work(nothing, lambda _: None)  # and nothing of it is left
        return took

    assert asyncio.run(run()) < 5


def test_errors_free_the_thread() -> None:
    async def broken() -> None:
        raise KeyError("lost")

    async def run() -> None:
        turns = Turns(2, "test")
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                await turns.work(nothing, lambda _: 1 / 0)
            with pytest.raises(KeyError):
                await turns.work(broken, lambda _: None)
        await asyncio.sleep(0.02)
        assert turns._free == 2

    asyncio.run(run())
