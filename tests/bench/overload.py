"""What callers see when more photos come than can be served, with and without `limits.max_wait`.

    python -m tests.bench.overload --out docs/overload.md

`make bench-overload` runs this: the whole one-machine stack, once for each setting. Photos are sent
by chance (a Poisson process), whether earlier ones have been answered or not, as independent
callers do.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from serving.settings import LimitSettings
from serving.stack.config import StackSettings
from serving.stack.run import running
from tests.bench.machine import machine
from tests.support.images import DATA

PORT = 15680
ALONE = 150  # requests of one client
CLIENTS, BUSY_S = 8, 20.0
FACTORS, LOAD_S = (1.0, 2.0, 4.0), 40.0
JPEG = {"content-type": "image/jpeg"}
DEFAULT = LimitSettings().max_wait


@dataclass(frozen=True)
class Answer:
    status: int
    ms: float


@dataclass(frozen=True)
class Seen:
    """Of one load, in photos a second, under one setting."""

    max_wait: float
    load: float
    answers: Sequence[Answer]
    seconds: float

    def quantile(self, q: float, status: int = 200) -> float:
        times = [a.ms for a in self.answers if a.status == status]
        return float(np.quantile(times, q)) if times else float("nan")

    def count(self, status: int) -> int:
        return sum(a.status == status for a in self.answers)


def photos() -> list[bytes]:
    return [path.read_bytes() for path in sorted((DATA / "people").glob("*/*.jpg"))]


def alone(url: str) -> list[Answer]:
    """One client, one photo after the other."""
    own = itertools.islice(itertools.cycle(photos()), ALONE + 10)
    with httpx.Client(base_url=url, timeout=120) as client:
        return [_sent(client, photo) for photo in own][10:]


def _sent(client: httpx.Client, photo: bytes) -> Answer:
    start = time.perf_counter()
    answer = client.post("/infer", content=photo, headers=JPEG)
    return Answer(answer.status_code, (time.perf_counter() - start) * 1000)


def capacity(url: str) -> float:
    """Photos a second that are answered when eight clients always wait for one."""
    end = time.monotonic() + BUSY_S
    own = photos()

    def client(number: int) -> int:
        answered = 0
        with httpx.Client(base_url=url, timeout=120) as client:
            while time.monotonic() < end:
                answered += _sent(client, own[(number + answered) % len(own)]).status == 200
        return answered

    start = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        answered = sum(pool.map(client, range(CLIENTS)))
    return answered / (time.monotonic() - start)


async def loaded(url: str, rate: float) -> list[Answer]:
    """The answers to photos that come ``rate`` times a second, whatever the answers are."""
    own, chance = photos(), random.Random(0)
    answers: list[Answer] = []
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)

    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:

        async def send(photo: bytes) -> None:
            start = time.perf_counter()
            answer = await client.post("/infer", content=photo, headers=JPEG)
            answers.append(Answer(answer.status_code, (time.perf_counter() - start) * 1000))

        tasks: list[asyncio.Task[None]] = []
        at = time.monotonic()
        end = at + LOAD_S
        while (at := at + chance.expovariate(rate)) < end:
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            tasks.append(asyncio.create_task(send(chance.choice(own))))
        await asyncio.gather(*tasks)
    return answers


def measured(max_wait: float, most: float | None) -> tuple[list[Seen], float]:
    """What was seen under a setting, first by one client alone; and what can be served.

    Args:
        most: photos a second that can be served; None: that is measured.
    """
    with tempfile.TemporaryDirectory(prefix="overload") as folder:
        overrides = {"limits": {"max_wait": max_wait}}
        settings = StackSettings(folder=Path(folder), port=PORT, overrides=overrides)
        with running(settings):
            start = time.monotonic()
            first = alone(settings.url)
            seen = [Seen(max_wait, 0.0, first, time.monotonic() - start)]
            if most is None:
                most = capacity(settings.url)
            for factor in FACTORS:
                start = time.monotonic()
                answers = asyncio.run(loaded(settings.url, factor * most))
                seen.append(Seen(max_wait, factor, answers, time.monotonic() - start))
                print(told(seen[-1], first), flush=True)
                time.sleep(5)
    return seen, most


def told(seen: Seen, first: Sequence[Answer]) -> str:
    """A row of the table."""
    usual = float(np.quantile([a.ms for a in first], 0.99))
    load = f"{seen.load:g} times" if seen.load else "one client"
    refused = f"{seen.quantile(0.99, 503):.0f} ms" if seen.count(503) else "-"
    return (
        f"| {seen.max_wait:g} | {load} | {seen.count(200) / seen.seconds:.1f} "
        f"| {seen.quantile(0.5):.0f} ms | {seen.quantile(0.99):.0f} ms "
        f"| {seen.quantile(0.99) / usual:.1f} | {seen.count(503)} of {len(seen.answers)} "
        f"| {refused} |"
    )


_HEADER = (
    "| `limits.max_wait` | load | answered a second | median | 99% | 99% beside one client's "
    "| refused (503) | 99% of refusals |"
)


def page(rows: Sequence[str], most: float) -> str:
    return f"""# When more comes than can be served

Measured by `make bench-overload`: the whole service on one machine (HTTP, Ray Serve, Triton, S3),
which shares its cores with the callers. {machine("ray", "openvino")}

Photos of one or two faces come by chance, whether earlier ones have been answered or not, without a
key, for {LOAD_S:.0f} s at each load. One time the load is {most:.1f} photos a second, as many as
{CLIENTS} clients get answered who always wait for one.

{_HEADER}
|---:|---|---:|---:|---:|---:|---:|---:|
{chr(10).join(rows)}

Without the bound (0) only the {LimitSettings().max_in_flight} requests of `limits.max_in_flight`
and the queues of the stages limit what waits, and everybody waits for it. With it, each replica of
the ingress keeps a window for each caller: how many look-ups of the caller may be under way. An
answer tells how long its photo waited for its turns, and how long it was worked on. If it waited
more than `limits.max_wait` times as long as it was worked on, the window shrinks to what would have
been right, never below four; while answers come in time it grows again, slowly. What comes beyond
it gets 503 `overloaded` with `Retry-After`, before its photo is read; the clients of this project,
streams and jobs wait and send it again. Enrolments are not refused for it.

Callers with different keys have windows of their own, since the stages serve keys in turns. A
caller that was away for half a minute begins anew. Triton does not tell what it waited from what it
did: there a face may take as long as the faces of look-ups that were alone, and the rest counts as
waited.

More replicas serve more: then photos wait less, and the window grows by itself. For bulk work that
may wait use [a stream](api.md#streams) or [a job](batch.md), or set `limits.max_wait: 0`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    unbounded, most = measured(0, None)
    bounded, _ = measured(DEFAULT, most)
    rows = [told(seen, block[0].answers) for block in (unbounded, bounded) for seen in block]
    out.write_text(page(rows, most))


if __name__ == "__main__":
    main()
