"""A way to the service that can be shut: what the browser sees when the service goes away."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LOOPBACK = "127.0.0.1"


class Door:
    """Passes on what comes in at ``port``, and is open at first."""

    def __init__(self, loop: asyncio.AbstractEventLoop, inside: int) -> None:
        self._loop = loop
        self._inside = inside
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.open()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def open(self) -> None:
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)

    def shut(self) -> None:
        """Nobody comes in any more, and who is inside is cut off."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._pass, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._passing:
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            inner_reader, inner_writer = await asyncio.open_connection(LOOPBACK, self._inside)
            both = {writer, inner_writer}
            self._passing |= both
            try:
                await asyncio.gather(
                    _pour(reader, inner_writer), _pour(inner_reader, writer), return_exceptions=True
                )
            finally:
                self._passing -= both
        writer.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


@contextmanager
def door(inside: int) -> Iterator[Door]:
    """A door to the port ``inside``."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = Door(loop, inside)
    try:
        yield made
    finally:
        made.shut()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
