"""A server on loopback with the answers that a test sets; for tests of the client."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class FakeService:
    """A server on loopback that gives one answer to every request, and records the requests.

    ``answers`` are given first, each once: status, body and perhaps headers. Status `NO_ANSWER`
    closes the connection.
    """

    def __init__(self) -> None:
        self.status = 200
        # What every answer has, of each question.
        self.body: Any = {
            "faces": [],
            "same": True,
            "identities": [],
            "duplicates": [],
            "next": None,
        }
        self.seconds = threading.Event()  # set: answers come at once
        self.seconds.set()
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[tuple[Any, ...]] = []
        self.url = ""


NO_ANSWER = 0


@contextmanager
def fake_service() -> Iterator[FakeService]:
    service = FakeService()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            service.asked.append(f"{self.command} {self.path}")
            service.bodies.append(self.rfile.read(int(self.headers.get("content-length", 0))))
            service.headers.append({k.lower(): v for k, v in self.headers.items()})
            service.seconds.wait(10)
            status, body, *headers = (
                service.answers.pop(0) if service.answers else (service.status, service.body)
            )
            if status == NO_ANSWER:
                self.close_connection = True
                return
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in dict(*headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def handle(self) -> None:
            with suppress(ConnectionError):  # the client has stopped waiting
                super().handle()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield service
    finally:
        service.seconds.set()
        server.shutdown()
        server.server_close()
        thread.join()
