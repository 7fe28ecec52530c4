"""A receiver of webhooks on loopback, whose answers a test sets; and what it got."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
# Called with the event; returns the status and the headers of the answer.
Answer = Callable[[dict[str, Any]], tuple[int, Mapping[str, str]]]


def taken(event: dict[str, Any]) -> tuple[int, Mapping[str, str]]:
    return 204, {}


@dataclass
class Webhook:
    """``events`` are those that it took, ``tries`` all."""

    url: str = ""
    answer: Answer = taken
    # Called before the answer, for slow receivers.
    delay: Callable[[Any], None] = lambda handler: None
    events: list[dict[str, Any]] = field(default_factory=list)
    tries: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    unsigned: int = 0

    def of(self, kind: str, person: int | None = None) -> list[dict[str, Any]]:
        return [
            e
            for e in list(self.events)
            if e["type"] == kind and person in (None, e["data"].get("id"))
        ]

    def wait(self, kind: str, person: int | None = None, timeout_s: float = 60) -> dict[str, Any]:
        """The first event of a kind, about a person or anybody."""
        until = time.monotonic() + timeout_s
        while not (found := self.of(kind, person)):
            assert time.monotonic() < until, [e["type"] for e in self.events]
            time.sleep(0.05)
        return found[0]


def is_signed(headers: Mapping[str, str], body: bytes, secret: str = SECRET) -> bool:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    code = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return f"v1,{code}" in headers["webhook-signature"].split(" ")


@contextmanager
def receiving(port: int = 0, certificate: tuple[Path, Path] | None = None) -> Iterator[Webhook]:
    """A receiver that runs. Port 0: any.

    Args:
        certificate: a certificate and its key, for HTTPS.
    """
    webhook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            event = json.loads(body)
            webhook.tries.append((event["id"], headers))
            webhook.unsigned += not is_signed(headers, body)
            webhook.delay(self)
            status, more = webhook.answer(event)
            if 200 <= status < 300:
                webhook.events.append(event)
            try:
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:
                pass  # the sender waits no more

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        allow_reuse_address = True
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a handshake that the client has broken off

    server = Server(("127.0.0.1", port), Handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    webhook.url = f"{scheme}://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield webhook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Watched:
    """A `serving.events.dispatcher.Watch` that counts."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(("queued", "delivered", "failed", "dead", "lost", "gap"), 0)
        self.lag_s = 0.0
        self.problem = False

    def queued(self, events: int) -> None:
        self.counts["queued"] += events

    def delivered(self) -> None:
        self.counts["delivered"] += 1

    def failed(self) -> None:
        self.counts["failed"] += 1

    def dead(self) -> None:
        self.counts["dead"] += 1

    def lost(self, events: int) -> None:
        self.counts["lost"] += events

    def gap(self, gaps: int) -> None:
        self.counts["gap"] += gaps

    def state(self, lag_s: float, problem: bool) -> None:
        self.lag_s, self.problem = lag_s, problem
