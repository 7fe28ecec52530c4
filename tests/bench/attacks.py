"""The attacks of `tests.bench.attack`: what a caller can send to take the service from others.

Each runs in a process of its own, so that the client who is measured shares no interpreter with it.
"""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any

import httpx
import numpy as np
from PIL import Image

from serving.stack.process import LOOPBACK
from tests.support import images

PEOPLE = 60_000  # in the gallery, from the id `FIRST` on
FIRST = 100_000
# Longer than any answer takes.
_PATIENCE_S = 90.0
_JPEG = {"Content-Type": "image/jpeg"}
_INFER_V2 = "/v2/models/face-identification/infer"


@dataclass(frozen=True)
class Target:
    """The service, and the headers of the keys of an attacker: enrolment, and administration."""

    port: int
    enrol: Mapping[str, str]
    admin: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


# Once: returns the status of the answer, or another word for how it ended.
Once = Callable[[Target, httpx.Client], str]


@dataclass(frozen=True)
class Attack:
    """Attributes:
    at_once: how many of it run at the same time.
    make: prepares what is sent.
    """

    name: str
    at_once: int
    make: Callable[[], Once]


def drip() -> Once:
    """A body of which a byte comes every second, until there is an answer."""

    def once(target: Target, client: httpx.Client) -> str:
        key = "".join(f"{name}: {value}\r\n" for name, value in target.enrol.items())
        head = f"POST /infer HTTP/1.1\r\nHost: {LOOPBACK}\r\nContent-Length: 1000\r\n{key}"
        return _dripped(target, f"{head}Content-Type: image/jpeg\r\n\r\n")

    return once


def unfinished() -> Once:
    """Headers that do not end, without any key."""
    head = f"GET /healthz HTTP/1.1\r\nHost: {LOOPBACK}\r\nX: a"
    return lambda target, client: _dripped(target, head)


def _dripped(target: Target, head: str) -> str:
    with socket.create_connection((LOOPBACK, target.port), timeout=1) as connection:
        connection.sendall(head.encode())
        for _ in range(int(_PATIENCE_S)):
            try:
                answer = connection.recv(64)
            except TimeoutError:
                connection.sendall(b" ")
            else:
                return answer.split()[1].decode() if answer else "closed"
    return "held"


def request(method: str, path: str, **of_request: Any) -> Callable[[], Once]:
    return lambda: lambda target, client: _status(client, target.enrol, method, path, of_request)


def _status(
    client: httpx.Client,
    key: Mapping[str, str],
    method: str,
    path: str,
    of_request: Mapping[str, Any],
) -> str:
    headers = {**key, **of_request.get("headers", {})}
    return str(client.request(method, path, **{**of_request, "headers": headers}).status_code)


def posted(path: str, kind: str, body: Callable[[], bytes]) -> Callable[[], Once]:
    """The same body, made once, again and again."""

    def make() -> Once:
        return request("POST", path, content=body(), headers={"Content-Type": kind})()

    return make


def erasures() -> Once:
    ids: Iterator[int] = iter(range(FIRST, FIRST + PEOPLE))
    lock = threading.Lock()

    def once(target: Target, client: httpx.Client) -> str:
        with lock:
            person = next(ids)
        path = f"/identities/{person}?erase=true"
        return _status(client, target.admin, "DELETE", path, {})

    return once


def _form(parts: int, text: bytes) -> bytes:
    head = b'--FORM\r\nContent-Disposition: form-data; name="name"\r\n\r\n'
    return (head + text + b"\r\n") * parts + b"--FORM--\r\n"


def _long_json() -> bytes:
    """62 MB that are no photo."""
    return b'{"image": "' + base64.b64encode(bytes(46_500_000)) + b'"}'


def _numbers() -> bytes:
    """More embeddings than are taken, in 8 MB."""
    rows = ",".join(["[" + ",".join(["0.5"] * 512) + "]"] * 4000)
    return f'{{"model": "any", "embeddings": [{rows}]}}'.encode()


def _most_numbers() -> bytes:
    """1,024,000 in 21 MB."""
    rows = ",".join(["[" + ",".join([repr(512**-0.5)] * 512) + "]"] * 2000)
    return f'{{"model": "any", "embeddings": [{rows}]}}'.encode()


def _large_png() -> bytes:
    """190 kB of which each pixel takes four bytes."""
    return images.encode(Image.new("RGBA", (7071, 7071)), "PNG")


def _noise() -> bytes:
    """Without a face, but with many places to look for one."""
    grain = np.random.default_rng(1).integers(0, 256, (400, 530, 3), np.uint8)
    return images.encode(Image.fromarray(grain).resize((4000, 3000)), "JPEG", quality=85)


def _photos_v2() -> bytes:
    """32 mosaics in one request."""
    photo = base64.b64encode(images.mosaic(200)).decode()
    listed = ",".join([f'"{photo}"'] * 32)
    tensor = f'{{"name": "IMAGE", "shape": [32], "datatype": "BYTES", "data": [{listed}]}}'
    return f'{{"inputs": [{tensor}]}}'.encode()


def _multipart(charset: str) -> str:
    return f"multipart/form-data; boundary=FORM{charset}"


_PUNYCODE = b"b" * 500_000 + b"-" + b"a" * 500_000
ATTACKS: tuple[Attack, ...] = (
    Attack(
        "forms of 1 MB in punycode",
        4,
        posted("/infer", _multipart("; charset=punycode"), lambda: _form(1, _PUNYCODE)),
    ),
    Attack(
        "forms of 32 texts of 1 MB",
        4,
        posted("/infer", _multipart(""), lambda: _form(32, b"a" * 1_000_000)),
    ),
    Attack(
        "answers of 100 faces with 100 candidates each",
        4,
        posted("/infer?top_k=100&threshold=-1", "image/jpeg", lambda: images.mosaic(100)),
    ),
    Attack("bodies that drip", 48, drip),
    Attack("unfinished headers, without a key", 500, unfinished),
    Attack(f"GET /duplicates of {PEOPLE:,} people", 40, request("GET", "/duplicates")),
    Attack("erasures", 16, erasures),
    Attack("JSON of 62 MB", 4, posted("/infer", "application/json", _long_json)),
    Attack(
        "8 MB of numbers",
        4,
        posted("/identities/1/embeddings", "application/json", _numbers),
    ),
    Attack(
        "as many numbers as are taken",
        4,
        posted("/identities/1/embeddings", "application/json", _most_numbers),
    ),
    Attack("transparent PNGs of 50 megapixels", 8, posted("/detect", "image/png", _large_png)),
    Attack("photos of noise, 12 megapixels", 10, posted("/detect", "image/jpeg", _noise)),
    Attack("mosaics of 800 faces", 10, posted("/infer", "image/jpeg", lambda: images.mosaic(800))),
    Attack(
        "/v2 with 32 mosaics of 200 faces", 4, posted(_INFER_V2, "application/json", _photos_v2)
    ),
)
BY_NAME = {attack.name: attack for attack in ATTACKS}


class Attackers:
    """The attack in a process of its own, from `begin` to `end`."""

    def __init__(self, name: str, target: Target) -> None:
        spawn = get_context("spawn")
        self._ready, self._over = spawn.Event(), spawn.Event()
        self._answers: Queue[Counter[str]] = spawn.Queue()
        words = (name, target, self._ready, self._over, self._answers)
        self._process = spawn.Process(target=_keep_on, args=words, daemon=True)

    def begin(self) -> None:
        """Returns when the attack is under way."""
        self._process.start()
        if not self._ready.wait(60):
            raise RuntimeError("The attack did not begin.")

    def end(self) -> str:
        """What it was answered."""
        self._over.set()
        answers = self._answers.get(timeout=2 * _PATIENCE_S)
        self._process.join()
        return ", ".join(f"{n:,} x {status}" for status, n in sorted(answers.items()))


def _keep_on(
    name: str, target: Target, ready: Event, over: Event, out: Queue[Counter[str]]
) -> None:
    attack = BY_NAME[name]
    once = attack.make()
    answers: Counter[str] = Counter()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    with httpx.Client(base_url=target.url, timeout=_PATIENCE_S, limits=limits) as client:

        def again(_: int) -> None:
            while not over.is_set():
                try:
                    ended = once(target, client)
                except httpx.TransportError as error:
                    ended = type(error).__name__
                except OSError:
                    ended = "closed"
                answers[ended] += 1
                time.sleep(0.05)  # of a client that does not obey Retry-After

        with ThreadPoolExecutor(attack.at_once) as threads:
            attackers = [threads.submit(again, n) for n in range(attack.at_once)]
            ready.set()
            for attacker in attackers:
                with suppress(StopIteration):  # nobody is left to be erased
                    attacker.result()
    out.put(answers)
