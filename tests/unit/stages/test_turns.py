"""Threads that callers get in turns."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from serving import deadline
from serving.actor import acting
from serving.errors import TimedOut
from serving.stages.turns import Turns

Send = Callable[[str, str], asyncio.Task[str]]


def in_turns(
    orders: Callable[[Send, list[str]], Awaitable[None]], threads: int = 1
) -> tuple[list[str], Turns]:
    """Run ``orders`` while all threads are taken, then let them go; returns what was done, in
    order."""
    done: list[str] = []
    turns = Turns(threads, "test")

    async def one(caller: str, what: str) -> str:
        with acting(caller):
            async with turns.turn() as turn:
                await turn.work(lambda: done.append(what))
                return what

    async def run() -> None:
        until_sent = threading.Event()

        async def hold() -> None:
            with acting("holder"):
                async with turns.turn() as turn:
                    await turn.work(lambda: until_sent.wait(10))

        holders = [asyncio.ensure_future(hold()) for _ in range(threads)]
        await asyncio.sleep(0.01)
        sent: list[asyncio.Task[str]] = []

        def send(caller: str, what: str) -> asyncio.Task[str]:
            sent.append(asyncio.ensure_future(one(caller, what)))
            return sent[-1]

        await orders(send, done)
        await asyncio.sleep(0.01)
        until_sent.set()
        await asyncio.gather(*holders)
        await asyncio.gather(*sent, return_exceptions=True)

    asyncio.run(run())
    return done, turns


def test_who_sends_much_waits_behind_himself() -> None:
    async def orders(send: Send, done: list[str]) -> None:
        for n in range(4):
            send("greedy", f"greedy {n}")
        await asyncio.sleep(0)
        send("modest", "modest")

    done, _ = in_turns(orders)
    assert done == ["greedy 0", "modest", "greedy 1", "greedy 2", "greedy 3"]


def test_whose_last_turn_is_longest_ago_is_next() -> None:
    async def orders(send: Send, done: list[str]) -> None:
        for caller in "abc":
            for n in range(2):
                send(caller, f"{caller}{n}")

    done, _ = in_turns(orders)
    assert done == ["a0", "b0", "c0", "a1", "b1", "c1"]


def test_who_goes_away_takes_no_turn() -> None:
    async def orders(send: Send, done: list[str]) -> None:
        gone = [send("a", "gone"), send("b", "gone")]
        send("c", "here")
        await asyncio.sleep(0.01)
        for task in gone:
            task.cancel()

    done, turns = in_turns(orders)
    assert done == ["here"]
    assert turns._free == 1


def test_one_that_goes_away_in_the_moment_of_its_turn_hands_it_on() -> None:
    async def run() -> None:
        turns = Turns(1, "test")
        async with turns.turn():
            waiting = asyncio.ensure_future(turns.turn().__aenter__())
            behind = asyncio.ensure_future(turns.turn().__aenter__())
            await asyncio.sleep(0.01)
        waiting.cancel()  # it has its turn, and does not know it yet
        await asyncio.wait_for(behind, 5)
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(run())


def test_a_thread_whose_caller_has_gone_is_taken_until_its_call_ends() -> None:
    async def run() -> None:
        turns = Turns(1, "test")
        over = threading.Event()
        began = asyncio.Event()

        async def leave() -> None:
            async with turns.turn() as turn:
                began.set()
                await turn.work(lambda: over.wait(10))

        async def next_one() -> None:
            async with turns.turn() as turn:
                await turn.work(lambda: None)

        left = asyncio.ensure_future(leave())
        await began.wait()
        await asyncio.sleep(0.01)
        left.cancel()
        waiting = asyncio.ensure_future(next_one())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        over.set()
        await asyncio.wait_for(waiting, 5)

    asyncio.run(run())


def test_waiting_ends_at_the_deadline() -> None:
    async def run() -> float:
        turns = Turns(1, "test")
        async with turns.turn():
            start = time.monotonic()
            with deadline.until(start + 0.05), pytest.raises(TimedOut):
                async with turns.turn():
                    pytest.fail("there was no thread")
            took = time.monotonic() - start
        async with turns.turn():  # and nothing of it is left
            return took

    assert asyncio.run(run()) < 1


def test_an_error_of_the_call_frees_its_thread() -> None:
    async def orders(send: Send, done: list[str]) -> None:
        send("a", "a")

    async def run() -> None:
        turns = Turns(2, "test")
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                async with turns.turn() as turn:
                    await turn.work(lambda: 1 / 0)
        await asyncio.sleep(0.01)
        assert turns._free == 2

    asyncio.run(run())
    assert in_turns(orders, threads=2)[0] == ["a"]
