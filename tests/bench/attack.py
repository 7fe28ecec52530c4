"""Measures what one key can take from another: `make attack`.

    python -m tests.bench.attack --seconds 60 --out docs/attacks.md

It runs the whole one-machine stack with keys, each stage and Triton with the memory of the chart's
pods, and for each attack measures the times of /infer of a key that takes no part in it.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml

from serving.gallery import Gallery, Kind, Segment
from serving.gallery.location import Location
from serving.gallery.s3 import connect
from serving.gallery.segment import normalised
from serving.keys import hash_of, new_key
from serving.settings import GallerySettings
from serving.stack.config import StackSettings
from serving.stack.credentials import credentials
from serving.stack.process import LOOPBACK, Process
from serving.stack.run import running
from tests.bench.attacks import ATTACKS, BY_NAME, FIRST, PEOPLE, Attack, Attackers, Target
from tests.bench.machine import machine
from tests.bench.pods import Pods, of_the_chart
from tests.support import images

PORT = 15800
SCOPES = {"attacker": ["identify", "enrol"], "boss": ["admin"], "other": ["identify", "enrol"]}
KEYS = {name: new_key() for name in SCOPES}
MOST_P95_MS = 2000.0
# What is left of an attack is answered, and its keys' rates fill up again.
_REST_S = 5.0


def of(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[name]}"}


@dataclass
class Times:
    """Ordinary requests of the other key: milliseconds of those that were answered by 200, and how
    the others ended."""

    took: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def p95(self) -> float:
        return float(np.percentile(self.took, 95)) if self.took else float("inf")

    @property
    def good(self) -> bool:
        return not self.failed and self.p95 < MOST_P95_MS

    def cells(self) -> str:
        p50, longest = (np.percentile(self.took, 50), max(self.took)) if self.took else (0, 0)
        failed = ", ".join(f"{n} x {kind}" for kind, n in sorted(self.failed.items())) or "0"
        return f"{len(self.took)} | {failed} | {p50:.0f} | {self.p95:.0f} | {longest:.0f}"


def times(url: str, seconds: float) -> Times:
    """One request after the other."""
    photo = (images.DATA / "people" / "103" / "sunak.jpg").read_bytes()
    headers = {"Content-Type": "image/jpeg", **of("other")}
    found = Times()
    with httpx.Client(base_url=url, headers=headers, timeout=90) as client:
        until = time.monotonic() + seconds
        while time.monotonic() < until or not (found.took or found.failed):
            start = time.perf_counter()
            try:
                status = str(client.post("/infer", content=photo).status_code)
            except httpx.TransportError as error:
                status = type(error).__name__
            if status == "200":
                found.took.append((time.perf_counter() - start) * 1000)
            else:
                found.failed[status] += 1
    return found


def fill(stack: StackSettings) -> None:
    """Enrol somebody by the API, and `PEOPLE` made-up people in the bucket beside it."""
    photo = (images.DATA / "people" / "104" / "collins.jpg").read_bytes()
    with httpx.Client(base_url=stack.url, headers=of("other"), timeout=90) as client:
        made = client.post("/generate", params={"id": 1}, files={"images": photo})
        made.raise_for_status()
        model = made.json()["model"]
    settings = GallerySettings(endpoint=f"http://{LOOPBACK}:{stack.s3_port}")
    store = connect(settings, credentials=credentials(stack.folder))
    gallery = Gallery(store, settings.prefix, Location(settings.collection, model, 512))
    rows = normalised(np.random.default_rng(0).standard_normal((PEOPLE, 512), np.float32))
    now = np.full(PEOPLE, time.time())
    people = Segment.of_people(
        Kind.PUT,
        np.arange(FIRST, FIRST + PEOPLE),
        np.ones(PEOPLE, np.int32),
        rows,
        created=now,
        updated=now,
    )
    gallery.commit_segments(lambda: [people])


@dataclass(frozen=True)
class Row:
    name: str
    times: Times
    answers: str
    peaks: Mapping[str, int]


def measure(seconds: float, attacks: Sequence[Attack]) -> tuple[list[Row], Pods]:
    rows: list[Row] = []
    with stack() as (settings, processes), of_the_chart(processes) as pods:
        fill(settings)
        times(settings.url, min(5, seconds))

        def add(name: str, found: Times, answers: str = "") -> None:
            rows.append(Row(name, found, answers, pods.peaks()))
            print(f"{name}: {found.cells()}; {answers}", file=sys.stderr, flush=True)

        add("nothing", times(settings.url, seconds))
        for attack in attacks:
            target = Target(settings.port, of("attacker"), of("boss"))
            attackers = Attackers(attack.name, target)
            attackers.begin()
            time.sleep(2)
            found = times(settings.url, seconds)
            add(f"{attack.at_once} x {attack.name}", found, attackers.end())
            time.sleep(_REST_S)
        add("nothing, afterwards", times(settings.url, seconds))
        pods.look()
    return rows, pods


@contextlib.contextmanager
def stack() -> Iterator[tuple[StackSettings, list[Process]]]:
    with tempfile.TemporaryDirectory(prefix="attack-") as name:
        folder = Path(name)
        entries = [{"name": n, "hash": hash_of(KEYS[n]), "scopes": s} for n, s in SCOPES.items()]
        (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": entries}))
        overrides: dict[str, Any] = {
            **Pods.budgets(),
            "keys": {"required": True, "file": str(folder / "keys.yaml")},
        }
        settings = StackSettings(folder=folder / "stack", port=PORT, overrides=overrides)
        with running(settings, lambda line: print(line, file=sys.stderr)) as processes:
            yield settings, processes


def page(rows: Sequence[Row], pods: Pods, seconds: float) -> str:
    bad = [row.name for row in rows if not row.times.good]
    slow = f"**Not held**: {', '.join(bad)}." if bad else "**Held**: every p95 is below 2 s."
    died = ", ".join(pods.deaths) or "Nothing was killed and no replica was replaced"
    names = list(pods.limits)
    lines = [
        f"| {row.name} | {row.times.cells()} | "
        + " | ".join(f"{row.peaks[name] / 2**20:.0f}" for name in names)
        + f" | {row.answers} |"
        for row in rows
    ]
    return f"""# Attacks: what one key can take from another

Measured by `python -m tests.bench.attack --seconds {seconds:g}` (`make attack`): the whole service
on one machine, with keys and a gallery of {PEOPLE:,} people. During each attack of one key (the
erasures: of an administrator's) another key sends one ordinary /infer after the other for
{seconds:g} s. Every stage and Triton are in a control group of the memory of the chart's pod, and
the budgets are those that the chart derives from it. The attackers run on the same cores as the
service and obey no `Retry-After`.
{machine("ray", "starlette")}

{slow} {died}.

| meanwhile | answered | otherwise | p50 ms | p95 ms | longest ms | {
        " | ".join(f"MiB of {name}" for name in names)
    } | answers to the attack |
|---|---:|---:|---:|---:|---:|{"---:|" * len(names)}---|
{chr(10).join(lines)}

- MiB: the highest use of the group until then, with what it had before it was put into the group.
- The limits are those of the chart's pods, without {Pods.OF_RAY // 2**20} MiB for Ray's own
  processes, which are not in the groups:
  {pods.limits_in_words}.
- `closed`: the service closed the connection without an answer. `held`: it was open for 90 s.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of each attack")
    parser.add_argument("--only", nargs="+", choices=sorted(BY_NAME), help="these attacks")
    parser.add_argument("--out", type=Path, help="a page in markdown; by default the terminal")
    args = parser.parse_args()
    # The groups and the stack are removed also when it is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("It was told to end."))
    attacks = [a for a in ATTACKS if args.only is None or a.name in args.only]
    text = page(*measure(args.seconds, attacks), args.seconds)
    if args.out is None:
        sys.stdout.write(text)
    else:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
