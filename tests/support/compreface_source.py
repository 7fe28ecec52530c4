"""A server that speaks CompreFace's routes for subjects, faces and saved pictures."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

KEY = "00000000-0000-4000-8000-000000000002"


@dataclass
class Source:
    """What it has, and what it was asked.

    Attributes:
        pictures: by subject; None is a face whose picture was not saved.
        failures: statuses of the next answers, before any other is given.
    """

    pictures: dict[str, list[bytes | None]]
    url: str = ""
    asked: list[str] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)

    def faces(self) -> list[tuple[str, str, bytes | None]]:
        return [
            (str(uuid.uuid5(uuid.NAMESPACE_URL, f"{subject}/{n}")), subject, picture)
            for subject, pictures in self.pictures.items()
            for n, picture in enumerate(pictures)
        ]


@contextmanager
def serving(pictures: dict[str, list[bytes | None]]) -> Iterator[Source]:
    source = Source(pictures)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = urlsplit(self.path)
            source.asked.append(place.path)
            if source.failures:
                self._answer(source.failures.pop(0), {"message": "wait", "code": 41})
                return
            parts = place.path.removeprefix("/api/v1/").split("/")
            if parts[0] == "static":
                key, image = parts[1], parts[3]
                found = [p for i, _, p in source.faces() if i == image and key == KEY]
                self._bytes(200, (found and found[0]) or b"", "application/octet-stream")
            elif self.headers.get("x-api-key") != KEY:
                self._answer(404, {"message": f"Model with api key {KEY} not found", "code": 10})
            elif parts == ["recognition", "subjects"]:
                self._answer(200, {"subjects": list(source.pictures)})
            elif parts == ["recognition", "faces"]:
                self._page({name: int(v[0]) for name, v in parse_qs(place.query).items()})
            else:
                self._answer(404, {"message": "No message available", "code": 0})

        def _page(self, query: dict[str, int]) -> None:
            page, size = query.get("page", 0), query.get("size", 20)
            faces = source.faces()
            part = faces[page * size : (page + 1) * size]
            self._answer(
                200,
                {
                    "faces": [
                        {"image_id": image, "subject": subject} for image, subject, _ in part
                    ],
                    "page_number": page,
                    "page_size": size,
                    "total_pages": -(-len(faces) // size),
                    "total_elements": len(faces),
                },
            )

        def _answer(self, status: int, body: dict[str, object]) -> None:
            self._bytes(status, json.dumps(body).encode(), "application/json")

        def _bytes(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    source.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield source
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
