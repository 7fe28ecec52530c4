"""Reading a body: no further than it is wanted, not for ever, and within the memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from serving.api.memory import Lease, Memory
from serving.api.streams import body
from serving.api.streams.body import Body
from serving.api.streams.frames import Lines
from serving.errors import NoRoom, RequestTimeout, TooLarge
from serving.settings import LimitSettings

SOON = 0.02
MB = 2**20


class Wire:
    """What a server hands on; it counts how often more is wanted."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.wanted = 0

    async def receive(self) -> dict[str, Any]:
        self.wanted += 1
        return await self.messages.get()

    def send(self, data: bytes, more: bool = True) -> None:
        self.messages.put_nowait({"type": "http.request", "body": data, "more_body": more})

    def leave(self) -> None:
        self.messages.put_nowait({"type": "http.disconnect"})


class Rig:
    def __init__(
        self,
        *,
        unbuffered: bool = True,
        memory: int = 100 * MB,
        idle_s: float = 60,
        busy: Callable[[], bool] = lambda: False,
        **limits: Any,
    ) -> None:
        self.wire, self.memory = Wire(), Memory(memory)
        self.body = Body(
            self.wire.receive,
            Lines(4 * MB, 4 * MB),
            Lease(self.memory),
            LimitSettings(**limits),
            busy=busy,
            unbuffered=unbuffered,
            idle_s=idle_s,
        )

    async def next(self) -> bytes | None:
        frame = await asyncio.wait_for(self.body.next(), 10)
        return None if frame is None else frame.body


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_lines_come_as_they_are_sent_and_the_last_one_needs_no_end() -> None:
    async def check() -> None:
        rig = Rig()
        rig.wire.send(b"1\n2")
        assert await rig.next() == b"1"
        rig.wire.send(b"2\n3", more=False)
        assert [await rig.next() for _ in range(4)] == [b"22", b"3", None, None]
        await rig.body.close()
        assert rig.memory.taken == 0

    run(check)


def test_no_more_is_read_than_is_wanted() -> None:
    async def check() -> None:
        rig = Rig()
        for _ in range(40):
            rig.wire.send((b"x" * (MB // 4 - 1)) + b"\n")
        await asyncio.sleep(SOON)
        assert rig.wire.messages.qsize() == 36
        assert rig.memory.taken == body.AHEAD_BYTES
        for taken in range(1, 11):
            assert await rig.next() is not None
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert rig.wire.messages.qsize() >= 36 - taken
            assert rig.memory.taken <= body.AHEAD_BYTES
        await rig.body.close()

    run(check)


def test_of_a_long_line_all_is_read() -> None:
    async def check() -> None:
        rig = Rig()
        for _ in range(3):
            rig.wire.send(b"x" * MB)
        rig.wire.send(b"\n")
        line = await rig.next()
        assert line is not None
        assert len(line) == 3 * MB
        await rig.body.close()

    run(check)


def test_a_body_that_was_read_ahead_anyway_is_taken_over_up_to_the_limit() -> None:
    async def check() -> None:
        rig = Rig(unbuffered=False, max_body_bytes=5 * MB)
        for _ in range(6):
            rig.wire.send(b"x" * (MB - 1) + b"\n")
        await asyncio.sleep(SOON)
        assert rig.wire.messages.empty()
        for _ in range(5):
            assert await rig.next() is not None
        with pytest.raises(TooLarge, match="5 MiB"):
            await rig.next()
        await rig.body.close()
        assert rig.memory.taken == 0

    run(check)


def test_a_client_that_leaves_is_noticed_while_nothing_is_asked_for() -> None:
    async def check() -> None:
        rig = Rig()
        rig.wire.send(b"1\n2\n", more=False)
        assert await rig.next() == b"1"
        left = asyncio.ensure_future(rig.body.left())
        await asyncio.sleep(SOON)
        assert not left.done()
        rig.wire.leave()
        await asyncio.wait_for(left, 1)
        await rig.body.close()

    run(check)


def test_a_line_that_is_cut_by_a_client_that_leaves_is_none() -> None:
    async def check() -> None:
        rig = Rig()
        rig.wire.send(b'1\n{"id": 7}')
        rig.wire.leave()
        assert await rig.next() == b"1"
        with pytest.raises(ClientDisconnect):
            await rig.next()
        await rig.body.close()

    run(check)


@pytest.mark.parametrize("sent", [b"", b"\n\n", b"1\n"], ids=["nothing", "blank lines", "a line"])
def test_an_idle_client_is_dropped(sent: bytes) -> None:
    async def check() -> None:
        rig = Rig(idle_s=5 * SOON)

        async def drip() -> None:
            while True:
                rig.wire.send(b"\n")
                await asyncio.sleep(SOON)

        rig.wire.send(sent)
        dripping = asyncio.ensure_future(drip())
        if sent == b"1\n":
            assert await rig.next() == b"1"
        with pytest.raises(RequestTimeout, match=r"Nothing came for 0\.1 s"):
            await rig.next()
        dripping.cancel()
        await rig.body.close()

    run(check)


def test_a_client_that_waits_for_an_answer_is_not_idle() -> None:
    async def check() -> None:
        busy = True
        rig = Rig(idle_s=SOON, busy=lambda: busy)
        waiting = asyncio.ensure_future(rig.body.next())
        await asyncio.sleep(5 * SOON)
        assert not waiting.done()
        busy = False
        with pytest.raises(RequestTimeout):
            await waiting
        await rig.body.close()

    run(check)


@pytest.mark.parametrize(
    "limits",
    [
        {"min_upload_rate": 1e6, "upload_grace_s": 3 * SOON},
        {"min_upload_rate": 0, "timeout_s": 3 * SOON},
    ],
    ids=["the rate", "the time"],
)
def test_a_line_that_drips_in_ends_the_stream(limits: dict[str, Any]) -> None:
    async def check() -> None:
        rig = Rig(busy=lambda: True, **limits)

        async def drip() -> None:
            while True:
                rig.wire.send(b"x")
                await asyncio.sleep(SOON / 2)

        dripping = asyncio.ensure_future(drip())
        with pytest.raises(RequestTimeout, match="too slowly"):
            await rig.next()
        dripping.cancel()
        await rig.body.close()

    run(check)


def test_where_there_is_no_memory_reading_waits_for_it() -> None:
    async def check() -> None:
        rig = Rig(memory=3 * MB, timeout_s=5)
        other = Lease(rig.memory)
        other.take(3 * MB)
        rig.wire.send(b"x" * MB + b"\n", more=False)
        waiting = asyncio.ensure_future(rig.body.next())
        await asyncio.sleep(SOON)
        assert not waiting.done()
        other.end()
        frame = await asyncio.wait_for(waiting, 2)
        assert frame is not None
        assert frame.nbytes == MB
        await rig.body.close()

    run(check)


def test_where_there_is_no_memory_for_long_the_stream_ends() -> None:
    async def check() -> None:
        rig = Rig(memory=MB // 2, timeout_s=5 * SOON)
        rig.wire.send(b"x" * MB)
        with pytest.raises((NoRoom, RequestTimeout)):
            await rig.next()
        await rig.body.close()
        assert rig.memory.taken == 0

    run(check)


def test_what_still_comes_is_thrown_away_for_a_while() -> None:
    async def check() -> None:
        rig = Rig()
        rig.wire.send(b"1\n")
        assert await rig.next() == b"1"
        for _ in range(50):
            rig.wire.send(b"x" * 1000)
        await rig.body.drain(SOON)
        assert rig.wire.messages.empty()
        assert rig.memory.taken <= 2000
        await rig.body.close()
        assert len(asyncio.all_tasks()) == 1

    run(check)
