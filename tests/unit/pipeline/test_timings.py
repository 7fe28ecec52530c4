from __future__ import annotations

import asyncio

import pytest

from serving.pipeline.timings import Timings
from serving.stages.refs import Ref


def test_timings_of_a_stage_add_up() -> None:
    timings = Timings()

    async def work() -> None:
        for _ in range(2):
            await timings.of("decode", asyncio.sleep(0.01))
        with pytest.raises(asyncio.TimeoutError):
            await timings.of("detect", asyncio.wait_for(asyncio.sleep(9), 0.01))

    asyncio.run(work())
    assert timings.ms["decode"] >= 20
    assert timings.ms["detect"] >= 10
    assert timings.header().startswith("decode;dur=")


def test_what_a_stage_worked_is_told_apart() -> None:
    timings = Timings()

    async def work() -> None:
        for _ in range(2):
            answer: Ref[bytes] = Ref((b"",), True, 3.5)
            assert await timings.made("decode", asyncio.sleep(0.01, answer)) is answer
        await timings.of("embed", asyncio.sleep(0))

    asyncio.run(work())
    decode, embed = timings.header().split(", ")
    assert timings.ms["decode"] >= 20
    assert decode.endswith(";work=7.0")
    assert "work" not in embed


def test_waiting_and_work_are_told_apart() -> None:
    timings = Timings(
        ms={"read": 900.0, "detect": 100.0, "embed": 50.0, "gallery": 900.0, "match": 5.0},
        work_ms={"detect": 60.0, "match": 1.0},
    )
    assert timings.waited_and_worked(None) == (40.0 + 4.0, 60.0 + 50.0 + 1.0)
    assert timings.waited_and_worked(30.0) == (40.0 + 20.0 + 4.0, 60.0 + 30.0 + 1.0)
    assert timings.waited_and_worked(500.0) == timings.waited_and_worked(None)
    assert Timings().waited_and_worked(30.0) == (0.0, 0.0)
