"""A proxy between a client and the S3 server that does to single requests what networks do."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from serving.stack.process import LOOPBACK


@dataclass(frozen=True)
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Exchange(BaseHTTPRequestHandler):
    """One request, and what a fault can do with it."""

    protocol_version = "HTTP/1.1"
    wire: Wire

    def forward(self) -> Reply:
        """Ask the server. The client's own Host header is kept: it is signed."""
        upstream = http.client.HTTPConnection(LOOPBACK, self.wire.upstream, timeout=30)
        try:
            upstream.request(self.command, self.path, self._body, dict(self.headers.items()))
            answer = upstream.getresponse()
            return Reply(answer.status, answer.getheaders(), answer.read())
        finally:
            upstream.close()

    def reply(self, reply: Reply, *, cut_to: int | None = None) -> None:
        """Send it to the client; with ``cut_to`` no more than so many bytes of the body."""
        self.send_response_only(reply.status)
        for name, value in reply.headers:
            if name.lower() not in ("content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body[:cut_to])

    def hang_up(self, *, reset: bool = False) -> None:
        """Close the connection, as a process that ends or, with ``reset``, one that is killed."""
        self.close_connection = True
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()  # before it is shut down in good order
        else:
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _exchange(self) -> None:
        self._body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.wire.counted():
            fault = self.wire.fault_of(self.command, self.path)
            try:
                if fault is None:
                    self.reply(self.forward())
                else:
                    fault(self)
            except ConnectionError:  # one of the two is gone
                self.close_connection = True

    do_GET = do_PUT = do_DELETE = _exchange


Fault = Callable[[Exchange], None]


class Wire(ThreadingHTTPServer):
    """The proxy; ``faults`` happen to the requests that they name, once each."""

    daemon_threads = True

    def __init__(self, upstream: int, port: int = 0) -> None:
        super().__init__((LOOPBACK, port), type("Bound", (Exchange,), {"wire": self}))
        self.upstream = upstream
        self._faults: list[tuple[str, str, Fault]] = []
        self._lasting: list[tuple[str, str, Fault]] = []
        self._under_way = 0
        self._changed = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.server_address[1]}"

    def next(self, method: str, part: str, fault: Fault, times: int = 1) -> None:
        """Let it happen to the next requests of this method with this in their path."""
        self._faults += [(method, part, fault)] * times

    @contextmanager
    def during(self, method: str, part: str, fault: Fault) -> Iterator[None]:
        """Let it happen to every request of this method with this in its path."""
        self._lasting.append((method, part, fault))
        try:
            yield
        finally:
            self._lasting.remove((method, part, fault))

    def settle(self) -> None:
        """Wait until every request has got to its end; every fault has happened by then."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._under_way, 30)
        assert not self._faults

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self._changed:
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def fault_of(self, method: str, path: str) -> Fault | None:
        with self._changed:
            for n, (wanted, part, fault) in enumerate(self._faults):
                if wanted == method and part in path:
                    del self._faults[n]
                    return fault
        lasting = (f for wanted, part, f in self._lasting if wanted == method and part in path)
        return next(lasting, None)


@contextmanager
def proxied(upstream: int, port: int = 0) -> Iterator[Wire]:
    """The proxy, at ``port`` or anywhere."""
    with Wire(upstream, port) as wire:
        thread = threading.Thread(target=wire.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield wire
        finally:
            wire.shutdown()
            thread.join()


# --- faults --------------------------------------------------------------------------------------


def lose_request(exchange: Exchange) -> None:
    exchange.hang_up()


def reset_request(exchange: Exchange) -> None:
    exchange.hang_up(reset=True)


def lose_reply(exchange: Exchange) -> None:
    exchange.forward()
    exchange.hang_up()


def reset_reply(exchange: Exchange) -> None:
    exchange.forward()
    exchange.hang_up(reset=True)


def cut_body(exchange: Exchange) -> None:
    reply = exchange.forward()
    exchange.reply(reply, cut_to=len(reply.body) // 2)
    exchange.hang_up()


def reset_body(exchange: Exchange) -> None:
    reply = exchange.forward()
    exchange.reply(reply, cut_to=len(reply.body) // 2)
    exchange.hang_up(reset=True)


def answer(status: int, code: str, *, after_doing_it: bool = False) -> Fault:
    """An error of S3; ``code`` in its own words, or any HTML of whatever is in between."""
    body = code if code.startswith("<") else f"<Error><Code>{code}</Code></Error>"

    def fault(exchange: Exchange) -> None:
        if after_doing_it:
            exchange.forward()
        exchange.reply(Reply(status, [("Content-Type", "application/xml")], body.encode()))

    return fault


def late(seconds: float, *, request: bool = False) -> Fault:
    """The reply comes late, or with ``request`` the request gets to the server late."""

    def fault(exchange: Exchange) -> None:
        if request:
            time.sleep(seconds)
        reply = exchange.forward()
        if not request:
            time.sleep(seconds)
        try:
            exchange.reply(reply)
        except OSError:  # nobody waits for it any more
            exchange.close_connection = True

    return fault
