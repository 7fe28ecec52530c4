"""A way to the service that can be shut, and on which uploads can be spoilt: the browser and the
service see what a poor network makes of them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

LOOPBACK = "127.0.0.1"
_LENGTH = re.compile(rb"(?i)(content-length: *)(\d+)")
# Of the body; a form of the page has its head and the beginning of the photo in them.
_PASSED_BYTES = 2000


@dataclass
class Upload:
    """A request with a body, of which the head and the beginning of the body have been read."""

    head: bytes
    body: bytes
    reader: asyncio.StreamReader
    service: asyncio.StreamWriter
    browser: asyncio.StreamWriter

    async def swallow(self) -> None:
        """Read the rest of the body, and pass nothing of it on."""
        found = _LENGTH.search(self.head)
        assert found is not None
        await self.reader.readexactly(int(found[2]) - len(self.body))


Fault = Callable[[Upload], Awaitable[None]]


async def break_off(upload: Upload) -> None:
    """Both sides lose the connection in the middle of the body."""
    upload.service.write(upload.head + upload.body[:_PASSED_BYTES])
    await upload.service.drain()
    for writer in (upload.service, upload.browser):
        writer.transport.abort()


async def cut(upload: Upload) -> None:
    """The service gets the beginning of the body, as if that were all."""
    head = _LENGTH.sub(rb"\g<1>%d" % _PASSED_BYTES, upload.head)
    await upload.swallow()
    upload.service.write(head + upload.body[:_PASSED_BYTES])


def refuse(status: HTTPStatus) -> Fault:
    """A proxy in front of the service answers, and passes nothing on."""

    async def fault(upload: Upload) -> None:
        line = f"{status.value} {status.phrase}".encode()
        page = b"<html><h1>" + line + b"</h1></html>"
        await upload.swallow()
        upload.browser.write(
            b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s"
            % (line, len(page), page)
        )

    return fault


class Door:
    """Passes on what comes in at ``port``, and is open at first."""

    def __init__(self, loop: asyncio.AbstractEventLoop, inside: int) -> None:
        self._loop = loop
        self._inside = inside
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.StreamWriter] = set()
        self._fault: Fault | None = None
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

    @contextmanager
    def spoiling(self, fault: Fault) -> Iterator[None]:
        """Let it happen to every upload: a browser sends one again by itself where it may."""
        self._fault = fault
        try:
            yield
        finally:
            self._fault = None

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
                    self._ask(reader, inner_writer, writer),
                    _pour(inner_reader, writer),
                    return_exceptions=True,
                )
            finally:
                self._passing -= both
        writer.close()

    async def _ask(
        self,
        reader: asyncio.StreamReader,
        service: asyncio.StreamWriter,
        browser: asyncio.StreamWriter,
    ) -> None:
        try:
            while data := await reader.read(65536):
                # The browser begins each request in a piece of its own.
                if self._fault is not None and data.startswith(b"POST "):
                    while data.find(b"\r\n\r\n") < 0:
                        data += await reader.read(65536)
                    head, _, body = data.partition(b"\r\n\r\n")
                    if len(body) < _PASSED_BYTES:
                        body += await reader.readexactly(_PASSED_BYTES - len(body))
                    await self._fault(Upload(head + b"\r\n\r\n", body, reader, service, browser))
                    continue
                service.write(data)
                await service.drain()
        finally:
            service.close()


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
