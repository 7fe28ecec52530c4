"""Streams on the real stack: answers as to single requests, back-pressure, clients that leave."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.stack.config import StackSettings
from serving.stack.process import Process
from tests.support import leftovers
from tests.support.load import replicas, stopped
from tests.support.streaming import Streaming, line, person

MB = 2**20
# Behind the end of a JPEG; it is not decoded, but has to travel.
PADDING = bytes(3 * MB)


@pytest.fixture(scope="module")
def photo(data: Path) -> bytes:
    return (data / "id_is_2576.jpg").read_bytes()


@pytest.fixture(scope="module")
def small(data: Path) -> bytes:
    """One that is decoded and searched in a moment."""
    return (data / "people/104/collins.jpg").read_bytes()


def posted(
    api: httpx.Client, path: str, content: bytes, kind: str = "application/x-ndjson"
) -> list[dict[str, Any]]:
    answer = api.post(path, content=content, headers={"content-type": kind})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(text) for text in answer.text.splitlines()]


def without(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


def test_each_line_is_the_answer_of_the_single_request(api: httpx.Client, photo: bytes) -> None:
    lines = [
        person(2576, photo, ref="first"),
        b"\r\n",
        person(7, b"no photo"),
        b'{"id": 8, "images": [{"image"\n',
        person(104, photo, mode="append"),
    ]
    enrolled = posted(api, "/generate/stream", b"".join(lines))
    assert [one.get("status", 200) for one in enrolled[:-1]] == [200, 422, 400, 200]
    assert [one["index"] for one in enrolled[:-1]] == [0, 1, 2, 3]
    assert enrolled[0]["ref"] == "first"
    assert enrolled[-1] == {"done": True, "lines": 4, "errors": 2}
    versions = [one["gallery_version"] for one in enrolled if "gallery_version" in one]
    assert versions == sorted(set(versions))
    api.delete("/identities/104").raise_for_status()

    bodies = [
        line(photo, top_k=3, ref="ä"),
        line(b"GIF89a, or so"),
        line(photo, treshold=0.5),
        b"{\n",
        line(photo, max_faces=1),
    ]
    answers = posted(api, "/infer/stream?threshold=0.5", b"".join(bodies))
    assert answers[-1] == {"done": True, "lines": 5, "errors": 3}
    for number, (body, streamed) in enumerate(zip(bodies, answers, strict=False)):
        sent = body.replace(b', "ref": "\\u00e4"', b"").rstrip(b"\n")
        single = api.post(
            "/infer",
            params={"threshold": 0.5},
            content=sent,
            headers={"content-type": "application/json"},
        )
        assert streamed["index"] == number
        assert without(streamed, "index", "ref", "request_id") == without(
            single.json(), "request_id"
        )
    assert answers[0]["ref"] == "ä"
    assert answers[0]["faces"][0]["id"] == 2576


def test_a_form_has_a_file_for_each_photo(api: httpx.Client, photo: bytes, small: bytes) -> None:
    files = [
        ("image", ("a.jpg", photo, "image/jpeg")),
        ("image", ("b.txt", b"none", "text/plain")),
        ("image", ("c.jpg", small, "image/jpeg")),
    ]
    answer = api.post("/infer/stream", files=files)
    *answers, last = [json.loads(text) for text in answer.text.splitlines()]
    assert [(one["ref"], one.get("status", 200)) for one in answers] == [
        ("a.jpg", 200),
        ("b.txt", 415),
        ("c.jpg", 200),
    ]
    assert last["done"]


def test_answers_come_while_photos_are_sent(stack: StackSettings, small: bytes) -> None:
    with Streaming(stack.url, "/infer/stream") as stream:
        lines = stream.lines()
        for number in range(3):
            stream.send(line(small))
            assert next(lines)["index"] == number
        stream.end()
        assert next(lines) == {"done": True, "lines": 3, "errors": 0}
        assert list(lines) == []


def resident(pid: int) -> float:
    """MiB of memory that is the process's own."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(text.split()[1]) / 1024 for text in status if text.startswith("RssAnon:"))


@contextmanager
def peak(pid: int) -> Iterator[list[float]]:
    """The most that the process had meanwhile."""
    most, over = [resident(pid)], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            most[0] = max(most[0], resident(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


@pytest.mark.timeout(300)
def test_the_client_waits_for_the_service(
    stack: StackSettings, processes: list[Process], small: bytes
) -> None:
    """And a hundred photos take no more memory than a few."""
    (detector,), (ingress,) = (replicas(processes[-1].pid, of) for of in ("detect", "ingress"))
    data = line(small + PADDING)
    with Streaming(stack.url, "/infer/stream") as stream, peak(ingress) as most:
        before = most[0]
        with stopped(detector):
            sent = stream.send_until_blocked(data, 3.0)
            print(f"{sent / MB:.1f} MiB were taken while 4 photos of {len(data) / MB:.1f} waited")
            # Four are under way, and a fifth is read; the rest fills the sockets.
            assert 4 * len(data) < sent < 12 * len(data)
        grown = most[0] - before
    print(f"the ingress grew by {grown:.0f} MiB")

    with Streaming(stack.url, "/infer/stream") as stream, peak(ingress) as most:
        before = most[0]

        def send() -> None:
            for _ in range(100):
                stream.send(data)
            stream.end()

        thread = threading.Thread(target=send)
        thread.start()
        *answers, last = stream.lines()
        thread.join()
    assert last == {"done": True, "lines": 100, "errors": 0}
    assert [answer["index"] for answer in answers] == list(range(100))
    grown = most[0] - before
    print(f"the ingress grew by {grown:.0f} MiB over {100 * len(data) / MB:.0f} MiB of body")
    assert grown < 150


@pytest.mark.timeout(300)
def test_nothing_is_done_for_a_client_that_has_left(
    stack: StackSettings, processes: list[Process], api: httpx.Client, small: bytes
) -> None:
    leftovers.rest()
    before = leftovers.object_store(stack.port)
    (detector,) = replicas(processes[-1].pid, "detect")
    path = "/collections/left/generate/stream"
    with Streaming(stack.url, path) as stream:
        stream.send(person(1, small))
        lines = stream.lines()
        assert next(lines)["id"] == 1
        with stopped(detector):
            # All of it is read ahead, so that nothing hides that the client leaves.
            lines_ahead = b"".join(person(number, small) for number in range(2, 8))
            assert len(lines_ahead) < MB
            stream.send(lines_ahead)
            time.sleep(1)  # one is under way
            stream.socket.shutdown(socket.SHUT_RDWR)
            stream.close()
            time.sleep(1)
    people = api.get("/collections/left/identities").json()["identities"]
    assert [one["id"] for one in people] == [1]
    time.sleep(3)
    again = api.get("/collections/left/identities").json()["identities"]
    assert again == people
    api.delete("/collections/left/identities", params={"confirm": "all"}).raise_for_status()
    after, _ = leftovers.rested(stack.port, before)
    assert not after.holds_more(before), (before, after)
