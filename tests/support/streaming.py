"""A client of streams that sends and reads at the same time, which httpx cannot."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

NDJSON = "application/x-ndjson"


def line(photo: bytes, **more: Any) -> bytes:
    """A line of `/infer/stream`."""
    return json.dumps({"image": base64.b64encode(photo).decode(), **more}).encode() + b"\n"


def person(number: int, photo: bytes, **more: Any) -> bytes:
    """A line of `/generate/stream`."""
    images = [{"image": base64.b64encode(photo).decode()}]
    return json.dumps({"id": number, "images": images, **more}).encode() + b"\n"


class Streaming:
    """A request with a chunked body, in a ``with``."""

    def __init__(
        self, url: str, path: str, kind: str = NDJSON, *, headers: dict[str, str] | None = None
    ) -> None:
        at = urlsplit(url)
        assert at.hostname is not None
        self.socket = socket.create_connection((at.hostname, at.port or 80), timeout=60)
        lines = [
            f"POST {path} HTTP/1.1",
            f"Host: {at.netloc}",
            f"Content-Type: {kind}",
            "Transfer-Encoding: chunked",
            *(f"{name}: {value}" for name, value in (headers or {}).items()),
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._answer: HTTPResponse | None = None

    def __enter__(self) -> Streaming:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def send_until_blocked(self, data: bytes, seconds: float) -> int:
        """Send ``data`` again and again, until the service takes nothing for so long; returns the
        bytes that it has taken."""
        self.socket.settimeout(seconds)
        sent = 0
        while sent < 1000 * len(data):
            part = memoryview(b"%x\r\n%b\r\n" % (len(data), data))
            while part:
                try:
                    count = self.socket.send(part)
                except TimeoutError:
                    return sent
                sent, part = sent + count, part[count:]
        raise AssertionError("It never blocked.")

    def end(self) -> None:
        self.socket.sendall(b"0\r\n\r\n")

    @property
    def answer(self) -> HTTPResponse:
        """The answer, once it has begun."""
        if self._answer is None:
            self._answer = HTTPResponse(self.socket, method="POST")
            self._answer.begin()
        return self._answer

    def lines(self) -> Iterator[dict[str, Any]]:
        """The lines, as they come."""
        while text := self.answer.readline():
            yield json.loads(text)
