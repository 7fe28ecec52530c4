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
