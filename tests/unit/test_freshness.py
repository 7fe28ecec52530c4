"""One call for all who ask together, and none that began before it was asked for."""

from __future__ import annotations

import asyncio

import pytest

from serving.errors import Unavailable
from serving.freshness import Shared


class Source:
    """Answers with the number of the call; each call waits until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.failures: dict[int, Exception] = {}
        self.go = asyncio.Semaphore(0)

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        await self.go.acquire()
        if number in self.failures:
            raise self.failures[number]
        return number

    def let(self, calls: int) -> None:
        for _ in range(calls):
            self.go.release()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_those_who_ask_together_share_one_call() -> None:
    async def run() -> None:
        source = Source()
        shared = Shared(source)
        source.let(9)
        assert await asyncio.gather(*(shared() for _ in range(5))) == [1] * 5
        assert await shared() == 2

    asyncio.run(run())


def test_nobody_gets_the_result_of_a_call_that_began_before_he_asked() -> None:
    async def run() -> None:
        source = Source()
        shared = Shared(source)
        early = asyncio.create_task(shared())
        await settle()
        assert source.begun == 1
        late = [asyncio.create_task(shared()) for _ in range(3)]
        await settle()
        assert source.begun == 1  # one call at a time
        source.let(1)
        assert await early == 1
        source.let(1)
        assert await asyncio.gather(*late) == [2, 2, 2]

    asyncio.run(run())


def test_who_asks_while_the_next_one_waits_to_begin_joins_it() -> None:
    async def run() -> None:
        source = Source()
        shared = Shared(source)
        tasks = []
        for _ in range(3):
            tasks.append(asyncio.create_task(shared()))
            await settle()
        source.let(2)
        assert await asyncio.gather(*tasks) == [1, 2, 2]

    asyncio.run(run())


def test_a_failure_is_told_to_its_own_callers_alone() -> None:
    async def run() -> None:
        source = Source()
        source.failures[1] = Unavailable("The store is away.")
        shared = Shared(source)
        early = [asyncio.create_task(shared()) for _ in range(2)]
        await settle()
        late = asyncio.create_task(shared())
        source.let(2)
        for task in early:
            with pytest.raises(Unavailable):
                await task
        assert await late == 2

    asyncio.run(run())


def test_a_caller_who_goes_away_takes_nothing_from_the_others() -> None:
    async def run() -> None:
        source = Source()
        shared = Shared(source)
        leaving, staying = asyncio.create_task(shared()), asyncio.create_task(shared())
        await settle()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        source.let(1)
        assert await staying == 1

    asyncio.run(run())


def test_a_caller_who_goes_away_before_the_call_begins_blocks_nobody() -> None:
    async def run() -> None:
        source = Source()
        shared = Shared(source)
        running = asyncio.create_task(shared())
        await settle()
        leaving = asyncio.create_task(shared())
        await settle()
        leaving.cancel()
        await settle()
        staying = asyncio.create_task(shared())
        source.let(2)
        assert list(await asyncio.gather(running, staying)) == [1, 2]

    asyncio.run(run())
