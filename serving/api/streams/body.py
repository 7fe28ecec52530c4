"""Reads the body of a stream no further than it is wanted, and notices when the client leaves.

What is not read stays in the sockets, so a client that sends faster than its photos are worked on
has to wait: TCP tells it. That holds where Ray Serve hands the server's own ``receive`` on. By
itself it reads every request ahead, without a bound, to see the client leave; a header
(`UNBUFFERED`) keeps it from that, and HAProxy sets it on the paths of streams (`serving.haproxy`).
Without the header a stream as a whole may have as many bytes as any other body.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from serving import haproxy
from serving.api.memory import Lease
from serving.api.streams.frames import Frame, Splitter
from serving.api.uploads import Upload
from serving.errors import NoRoom, RequestTimeout, ServingError, TooLarge
from serving.settings import LimitSettings

T = TypeVar("T")

UNBUFFERED = (haproxy.UNBUFFERED.lower().encode(), b"?1")
# Below the 75 s after which HAProxy cuts off a client that sends nothing, without a word.
IDLE_S = 60.0
# Enough that small photos need not wait for the network. While there is less in hand the next
# bytes are waited for, and so is the end of a client that leaves.
AHEAD_BYTES = 2**20
# For other requests to give memory back.
_PAUSE_S = 0.1


class Body:
    """The frames of a body.

    Args:
        busy: whether photos are under way, for whose answers a client may be waiting.
        lease: takes memory for the bytes that are in no frame yet.
        unbuffered: nothing before this reads ahead; see the module.
        idle_s: how long a client may send nothing while nothing is under way.
    """

    def __init__(
        self,
        receive: Receive,
        splitter: Splitter,
        lease: Lease,
        limits: LimitSettings,
        *,
        busy: Callable[[], bool],
        unbuffered: bool,
        idle_s: float = IDLE_S,
    ) -> None:
        self._receive = receive
        self._splitter = splitter
        self._lease = lease
        self._limits = limits
        self._busy = busy
        self._idle_s = idle_s
        # What Ray has read takes memory in any case, so it is taken over and counted.
        self._ahead = AHEAD_BYTES if unbuffered else limits.max_body_bytes + 1
        self._left = None if unbuffered else limits.max_body_bytes
        self._news = asyncio.Event()  # for `next`
        self._wanted = asyncio.Event()  # for `_read`
        self._starving = self._ended = self._rested = False
        self._reading = asyncio.create_task(self._read())

    async def next(self) -> Frame | None:
        """The next frame; None: there are no more.

        Raises:
            ClientDisconnect: the client has left.
            RequestTimeout: it sends nothing, or too slowly.
            TooLarge, BadRequest: see `serving.api.streams.frames.Splitter`.
            NoRoom: others hold the memory.
        """
        upload = Upload(self._limits.min_upload_rate, self._limits.upload_grace_s)
        idle_s, frame_s, seen = 0.0, 0.0, self._splitter.held
        while (frame := self._splitter.take()) is None and not self._ended:
            self._lease.keep(self._splitter.held)
            self._raise_failure()
            began = bool(self._splitter.held)
            patience = (
                min(upload.patience_s(), self._limits.timeout_s - frame_s)
                if began
                else self._idle_s - idle_s
            )
            start = time.monotonic()
            self._starving = True
            self._wanted.set()
            try:
                await asyncio.wait_for(self._news.wait(), max(0.0, patience))
            except asyncio.TimeoutError:
                if not began and self._busy():
                    idle_s = 0.0
                    continue
                raise self._too_slow(began) from None
            finally:
                self._starving = False
                waited = time.monotonic() - start
            self._news.clear()
            if began:
                frame_s += waited
                upload.received(max(0, self._splitter.held - seen), waited)
            else:
                idle_s += waited
            seen = self._splitter.held
        if frame is None:
            self._raise_failure()
            if not self._rested:
                self._rested = True
                frame = self._splitter.rest()
        self._lease.keep(self._splitter.held)
        self._wanted.set()
        return frame

    async def left(self) -> None:
        """Return when the client has left; wait for ever, if reading fails otherwise."""
        await asyncio.wait({self._reading})
        gone = not self._reading.cancelled() and self._reading.exception()
        if isinstance(gone, ClientDisconnect):
            return
        await asyncio.Event().wait()

    async def drain(self, seconds: float) -> None:
        """Throw away what still comes, for a while: to close a connection on unread bytes would
        also take the last answers from the client."""
        await ended(self._reading)

        async def discard() -> None:
            message = await self._receive()
            while message["type"] == "http.request" and message.get("more_body", False):
                message = await self._receive()

        if not self._ended:
            await asyncio.wait({task := asyncio.create_task(discard())}, timeout=seconds)
            await ended(task)

    async def close(self) -> None:
        await ended(self._reading)
        self._lease.end()

    async def _read(self) -> None:
        """Feed the splitter; ends by an exception only, `ClientDisconnect` at last."""
        try:
            while True:
                # Of a large photo more is wanted, however much there is.
                while self._splitter.held >= self._ahead and not (self._starving or self._ended):
                    await self._wanted.wait()
                    self._wanted.clear()
                message = await self._receive()
                if message["type"] != "http.request":
                    raise ClientDisconnect
                await self._take(message.get("body", b""))
                self._ended = self._ended or not message.get("more_body", False)
                self._news.set()
        finally:
            self._news.set()

    async def _take(self, data: bytes) -> None:
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise TooLarge(
                    f"The stream has more than {self._limits.max_body_bytes / 2**20:g} MiB, and "
                    "the proxy of this service holds it as a whole; send fewer photos at once."
                )
        until = time.monotonic() + self._limits.timeout_s
        while True:
            try:
                self._lease.take(len(data))
                break
            except NoRoom:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(_PAUSE_S)
        self._splitter.feed(data)

    def _raise_failure(self) -> None:
        """Raise what ended the reading before the end of the body."""
        if self._reading.done() and not self._reading.cancelled():
            error = self._reading.exception()
            if error is not None and not (self._ended and isinstance(error, ClientDisconnect)):
                raise error

    def _too_slow(self, began: bool) -> ServingError:
        if not began:
            return RequestTimeout(f"Nothing came for {self._idle_s:g} s.")
        return RequestTimeout(
            f"This arrives too slowly: it needs {self._limits.min_upload_rate:g} bytes a second, "
            f"and has to arrive within {self._limits.timeout_s:g} s."
        )


async def ended(task: asyncio.Task[T]) -> None:
    """Cancel a task, and wait until it has ended."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # it is known
