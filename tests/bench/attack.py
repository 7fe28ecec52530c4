"""Measures what one key can take from another: `make attack`.

    python -m tests.bench.attack --seconds 60

It runs the whole one-machine stack with keys, and for each attack prints the times of /infer of a
key that takes no part in it, before and during it.
"""

from __future__ import annotations

import argparse
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import yaml

from serving.keys import hash_of, new_key
from serving.stack.config import StackSettings
from serving.stack.process import LOOPBACK
from serving.stack.run import running
from tests.bench.machine import machine
from tests.support import images

PORT = 15800
SCOPES = {"attacker": ["identify", "enrol"], "other": ["identify"]}
KEYS = {name: new_key() for name in SCOPES}
JPEG = {"Content-Type": "image/jpeg"}
Attack = Callable[[str, Counter[str]], None]


def of(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[name]}"}


def drip(url: str, answers: Counter[str]) -> None:
    """A body of which a byte comes every second, until there is an answer."""
    head = f"POST /infer HTTP/1.1\r\nHost: {LOOPBACK}\r\nContent-Length: 1000\r\n"
    head += f"Authorization: Bearer {KEYS['attacker']}\r\nContent-Type: image/jpeg\r\n\r\n"
    with socket.create_connection((LOOPBACK, PORT), timeout=1) as connection:
        connection.sendall(head.encode())
        for _ in range(120):
            try:
                answers[connection.recv(64).split()[1].decode()] += 1
                return
            except TimeoutError:
                connection.sendall(b" ")


def duplicates(url: str, answers: Counter[str]) -> None:
    answers[
        str(httpx.get(f"{url}/duplicates", headers=of("attacker"), timeout=90).status_code)
    ] += 1


def mosaic(url: str, answers: Counter[str]) -> None:
    answer = httpx.post(
        f"{url}/infer", content=_MOSAIC, headers={**JPEG, **of("attacker")}, timeout=90
    )
    answers[str(answer.status_code)] += 1


_MOSAIC = images.mosaic(800)
# Each with how many of it run at once.
ATTACKS: tuple[tuple[str, Attack, int], ...] = (
    ("bodies that drip", drip, 48),
    ("GET /duplicates", duplicates, 40),
    ("mosaics of 800 faces", mosaic, 10),
)


def times(url: str, seconds: float) -> list[float]:
    """Milliseconds of ordinary requests of the other key, one after the other."""
    photo = (images.DATA / "people" / "103" / "sunak.jpg").read_bytes()
    took = []
    with httpx.Client(base_url=url, headers={**JPEG, **of("other")}, timeout=90) as client:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            start = time.perf_counter()
            client.post("/infer", content=photo).raise_for_status()
            took.append((time.perf_counter() - start) * 1000)
    return took


def during(url: str, attack: Attack, count: int, seconds: float) -> tuple[list[float], str]:
    """The other key's times while ``count`` of the attack run, and the attack's answers."""
    answers: Counter[str] = Counter()
    over = threading.Event()

    def again(_: int) -> None:
        while not over.is_set():
            attack(url, answers)
            time.sleep(0.05)  # of a client that does not obey Retry-After

    with ThreadPoolExecutor(count) as threads:
        attackers = [threads.submit(again, n) for n in range(count)]
        time.sleep(2)
        try:
            took = times(url, seconds)
        finally:
            over.set()
        for attacker in attackers:
            attacker.result()
    return took, ", ".join(f"{n} x {status}" for status, n in sorted(answers.items()))


def line(name: str, took: list[float], answers: str) -> str:
    p50, p95 = np.percentile(took, [50, 95])
    return f"| {name} | {len(took)} | {p50:.0f} | {p95:.0f} | {max(took):.0f} | {answers} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of each attack")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="attack-") as name:
        folder = Path(name)
        entries = [{"name": n, "hash": hash_of(KEYS[n]), "scopes": s} for n, s in SCOPES.items()]
        (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": entries}))
        overrides = {"keys": {"required": True, "file": str(folder / "keys.yaml")}}
        stack = StackSettings(folder=folder / "stack", port=PORT, overrides=overrides)
        with running(stack, print):
            times(stack.url, min(5, seconds))
            print(machine())
            print("| meanwhile | requests | p50 ms | p95 ms | longest ms | answers to the attack |")
            print("|---|---:|---:|---:|---:|---|")
            print(line("nothing", times(stack.url, seconds), ""), flush=True)
            for title, attack, count in ATTACKS:
                took, answers = during(stack.url, attack, count, seconds)
                print(line(f"{count} {title}", took, answers), flush=True)


if __name__ == "__main__":
    main()
