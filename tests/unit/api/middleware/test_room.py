"""Memory for bodies: taken before they are read, refused promptly, given back in the end."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from serving.api.memory import JSON_FACTOR, RAW_FACTOR, VALUE_BYTES
from tests.support.api import Api, detail_of

MB = 2**20
JPEG = {"content-type": "image/jpeg"}
JSON = {"content-type": "application/json"}


class Stalled:
    """A body whose first byte comes at once, and the rest never."""

    def __init__(self) -> None:
        self.began = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.began.set()
        yield b"{"
        await asyncio.sleep(60)


def beside(api: Api, headers: dict[str, str], *requests: dict[str, Any]) -> list[httpx.Response]:
    """The answers to requests while a body with these headers is under way, and after it."""

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://faces") as client:
            stalled = Stalled()
            first = asyncio.create_task(client.post("/infer", headers=headers, content=stalled))
            await asyncio.wait_for(stalled.began.wait(), 5)
            during = [await client.request(**request) for request in requests]
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            return [*during, *[await client.request(**request) for request in requests]]

    return asyncio.run(ask())


def post(path: str = "/detect", **request: Any) -> dict[str, Any]:
    return {"method": "POST", "url": path, "headers": JPEG, "content": b"photo", **request}


@pytest.mark.parametrize(
    ("kind", "factor"),
    [
        ("image/jpeg", RAW_FACTOR),
        ("multipart/form-data; boundary=x", RAW_FACTOR),
        ("application/json", JSON_FACTOR),
    ],
)
def test_a_body_takes_its_length_times_what_its_form_costs(kind: str, factor: float) -> None:
    headers = {"content-type": kind, "content-length": str(MB)}
    small = post(content=b"x" * 1000)
    for budget, status in ((int(MB * factor) + 1000, 503), (int(MB * factor) + 4000, 200)):
        api = Api(body_memory_bytes=budget)
        assert [answer.status_code for answer in beside(api, headers, small)] == [status, 200]


def test_what_does_not_fit_is_refused_with_a_problem() -> None:
    api = Api(body_memory_bytes=int(MB * RAW_FACTOR), max_body_bytes=MB)
    during, after = beside(api, {**JPEG, "content-length": str(MB)}, post())
    detail = detail_of(during, 503)
    assert detail == "The requests that are under way take all the memory; try again in a moment."
    assert during.json()["type"] == "urn:faces:problem:no-room"
    assert int(during.headers["retry-after"]) >= 1
    assert after.status_code == 200


def test_one_without_a_length_takes_what_has_come() -> None:
    api = Api(body_memory_bytes=int(1000 * RAW_FACTOR) + 10)
    during, after = beside(api, JPEG, post(content=b"x" * 1000))
    assert (during.status_code, after.status_code) == (200, 200)

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://faces") as client:
            return await client.post("/infer", headers=JPEG, content=parts())

    assert "all the memory" in detail_of(asyncio.run(ask()), 503)
    assert api.post("/detect", content=b"x" * 1000, headers=JPEG).status_code == 200


def test_what_has_no_body_is_answered_all_the_same() -> None:
    api = Api(body_memory_bytes=int(MB * RAW_FACTOR), max_body_bytes=MB)
    get = {"method": "GET", "url": "/v2/models/face-identification"}
    full = {**JPEG, "content-length": str(MB)}
    assert [answer.status_code for answer in beside(api, full, get)] == [200, 200]


def test_one_that_is_too_long_is_told_so() -> None:
    api = Api(body_memory_bytes=MB, max_body_bytes=MB)
    detail_of(api.post("/infer", content=bytes(MB + 1), headers=JPEG), 413)


@pytest.mark.parametrize("length", ["", "x", "-1", "9" * 5000, "0"])
def test_a_length_that_is_none(length: str) -> None:
    answer = Api().post("/infer", content=b"", headers={**JPEG, "content-length": length})
    assert answer.status_code < 500


def test_values_of_json_are_counted_before_they_are_read() -> None:
    body = json.dumps({"model": "x", "embeddings": [[1] * 10_000]}).encode()
    budget = int(JSON_FACTOR * len(body)) + VALUE_BYTES * 9_000
    answer = Api(body_memory_bytes=budget).post(
        "/identities/7/embeddings", content=body, headers=JSON
    )
    assert "all the memory" in detail_of(answer, 503)
    answer = Api(body_memory_bytes=budget + VALUE_BYTES * 2_000).post(
        "/identities/7/embeddings", content=body, headers=JSON
    )
    assert answer.status_code == 422, answer.text  # another model's


def test_a_body_that_is_read_gives_back_what_it_needs_no_more() -> None:
    """Two slow requests at once, of which each took nearly all of it to be read."""
    body = b"x" * 1000
    api = Api(body_memory_bytes=int(1000 * RAW_FACTOR * 1.95))
    api.pipeline.seconds = 0.3

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://faces") as client:
            first = asyncio.create_task(client.post("/detect", content=body, headers=JPEG))
            await asyncio.sleep(0.15)
            assert api.pipeline.asked
            kept = await client.post("/detect", content=body[:850], headers=JPEG)
            return [(await first).status_code, kept.status_code]

    assert asyncio.run(ask()) == [200, 200]


# Many bodies at once, each half of the budget: in a process of its own, since only a process
# has a peak of memory. Prints the statuses, and by how many bytes it grew.
_LOAD = """
import asyncio, base64, collections, json, os, sys
from tests.support.api import Api

SIZE = 8 * 2**20
piece = base64.b64encode(os.urandom(49152))
kinds = {
    "application/json": (b'{"image": "', piece, b'"}'),
    "image/jpeg": (b"", piece, b""),
    "multipart/form-data; boundary=FORM": (
        b'--FORM\\r\\nContent-Disposition: form-data; name="image"; filename="a"\\r\\n\\r\\n',
        piece,
        b"\\r\\n--FORM--",
    ),
}

def status_of(key):
    (line,) = [line for line in open("/proc/self/status") if line.startswith(key)]
    return int(line.split()[1]) * 1024

async def post(api, kind, statuses):
    head, middle, tail = kinds[kind]
    parts = iter([head, *[middle] * (SIZE // len(middle)), tail])
    headers = [(b"content-type", kind.encode()), (b"transfer-encoding", b"chunked")]
    async def receive():
        await asyncio.sleep(0)
        part = next(parts, None)
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}
    async def send(message):
        if "status" in message:
            statuses.append(message["status"])
    await api.app(
        {"type": "http", "method": "POST", "path": "/infer", "raw_path": b"/infer",
         "query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http",
         "server": ("faces", 80), "client": ("127.0.0.1", 1), "root_path": ""},
        receive,
        send,
    )

async def load(api):
    await post(api, "image/jpeg", [])
    statuses, before = [], status_of("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")
    await asyncio.gather(*(post(api, kind, statuses) for kind in [*kinds] * 8))
    return {
        "statuses": collections.Counter(statuses), "grown": status_of("VmHWM") - before
    }

loads = []
for budget in map(int, sys.argv[1:]):
    api = Api(body_memory_bytes=budget, max_body_bytes=SIZE + 1000)
    api.pipeline.seconds = 0.2
    loads.append(asyncio.run(load(api)))
print(json.dumps(loads))
"""


def test_the_process_grows_by_no_more_than_the_budget() -> None:
    budget = 100 * MB

    # The second is without a budget: the load is one that would take more.
    command = [sys.executable, "-c", _LOAD, str(budget), str(2**40)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    kept, free = json.loads(done.stdout.splitlines()[-1])
    assert set(kept["statuses"]) == {"200", "503"}
    assert kept["grown"] < budget
    assert set(free["statuses"]) == {"200"}
    assert free["grown"] > 2 * budget
