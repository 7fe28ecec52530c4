"""What the audit costs a request at the ingress: off, as log lines, as objects in S3, with hashes.

The whole HTTP application in this process, over a pipeline that answers at once; log lines in JSON
to a file, objects to a real S3 server. Requests of all kinds take turns, so that a noisy machine
meets them alike.

    python -m tests.bench.audit [--requests 1000]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from ray._common.formatters import JSONFormatter

from serving.settings import AppArgs, AuditObjectSettings, AuditSettings
from serving.trail.places import Places
from serving.trail.writer import Trail
from tests.support import seaweed
from tests.support.api import Api
from tests.support.stages import faces
from tests.support.trails import Watched

KEY = b"k" * 32
PHOTOS = {"1 face": (1, 200_000), "10 faces": (10, 200_000), "100 faces": (100, 200_000)}
KINDS = ("off", "log", "log + objects", "log + objects + hash")


def api_of(kind: str, trail: Trail) -> Api:
    api = Api(
        audit=AuditSettings(identifications=kind != "off"),
        trail=trail if "objects" in kind else None,
        input_key=KEY if "hash" in kind else None,
    )
    for count, size in PHOTOS.values():
        api.pipeline.found[photo_of(count, size)] = faces(*[(0, 0, 9, 9)] * count)
    return api


def photo_of(faces_in_it: int, size: int) -> bytes:
    return bytes([faces_in_it]) * size


async def ask(api: Api, body: bytes) -> tuple[float, float]:
    """Milliseconds until the end of the answer, and those of CPU that the process took."""
    messages: list[dict[str, object]] = [{"type": "http.request", "body": body}]

    async def receive() -> dict[str, object]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: object) -> None:
        if message["type"] == "http.response.start":  # type: ignore[index]
            assert message["status"] == 200  # type: ignore[index]

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/infer",
        "raw_path": b"/infer",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"image/jpeg"), (b"content-length", b"%d" % len(body))],
        "client": ("127.0.0.1", 1),
        "server": ("faces", 80),
    }
    start, cpu = time.perf_counter(), time.process_time()
    await api.app(scope, receive, send)
    return (time.perf_counter() - start) * 1000, (time.process_time() - cpu) * 1000


@contextmanager
def logged(file: Path) -> Iterator[None]:
    log, handler = logging.getLogger("faces.audit"), logging.FileHandler(file)
    handler.setFormatter(JSONFormatter())
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


async def measure(
    apis: dict[str, Api], body: bytes, requests: int
) -> dict[str, list[tuple[float, float]]]:
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in apis}
    for _ in range(requests):
        for kind, api in apis.items():
            times[kind].append(await ask(api, body))
    return {kind: of_kind[len(of_kind) // 10 :] for kind, of_kind in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=1000, help="of each kind")
    requests = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as folder, seaweed.running(Path(folder), 17203) as server:
        os.environ.update(server.keys)
        args = AppArgs(gallery=server.settings)
        watched = Watched()
        settings = AuditObjectSettings(enabled=True, flush_s=1)
        trail = Trail(settings, lambda: Places.of(args), "bench", watched)
        apis = {kind: api_of(kind, trail) for kind in KINDS}
        print("| photo | audit | median, ms | more than off, ms | CPU more than off, ms |")
        print("|---|---|---|---|---|")
        with logged(Path(folder) / "audit.log"):
            for name, (count, size) in PHOTOS.items():
                times = asyncio.run(measure(apis, photo_of(count, size), requests))
                off = np.median(times["off"], axis=0)
                for kind, of_kind in times.items():
                    median = np.median(of_kind, axis=0)
                    wall, cpu = median - off
                    print(f"| {name} | {kind} | {median[0]:.2f} | {wall:.2f} | {cpu:.2f} |")
        trail.close(60)
        print(f"{watched.records['written']} records written, {watched.records['lost']} lost")


if __name__ == "__main__":
    main()
