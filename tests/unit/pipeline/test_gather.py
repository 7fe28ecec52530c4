from __future__ import annotations

import asyncio

import pytest

from serving.pipeline.gather import all_of


def test_results_come_in_the_order_of_the_work() -> None:
    async def late(value: int, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return value

    async def run() -> list[int]:
        return await all_of(late(n, 0.02 - n / 100) for n in range(3))

    assert asyncio.run(run()) == [0, 1, 2]


def test_a_failure_cancels_the_others() -> None:
    cancelled: list[bool] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise KeyError("x")

    async def run() -> None:
        with pytest.raises(KeyError):
            await all_of([slow(), fail(), slow()])
        await asyncio.sleep(0)

    asyncio.run(run())
    assert cancelled == [True, True]
