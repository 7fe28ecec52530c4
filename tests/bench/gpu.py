"""Measure embedding and whole requests with Triton on a GPU; `make bench-gpu` runs this.

    python -m tests.bench.gpu --out docs/bench-gpu.md

Needs a GPU that torch can use; with --cpu it runs without one, to try it out. The models are
TorchScript, and tritonserver that of the one-machine stack, with the project's own backend.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import torch

from serving.stack.config import StackSettings
from serving.stack.run import running
from tests.bench.machine import CORES, machine
from tests.bench.scenes import DATA
from tests.bench.triton import Load, Setting, load_it, serving

PORT = 15660
# The side of its crops, in pixels.
MODELS = {
    f"{name}{precision}": side
    for name, side in (("facenet-casia-webface", 160), ("sface", 112))
    for precision in ("", "-fp16")
}
LOADS = tuple(Load(*each) for each in ((1, 1), (1, 8), (1, 32), (8, 1), (64, 1)))
INSTANCES = (1, 2)
CLIENTS = (1, 8, 64)
WARM = 0.2  # of the seconds of a measurement


def device_of(log: Path) -> str:
    """Where the model computes, as the backend has written into tritonserver's log."""
    found = re.findall(r" computes on ([a-z0-9:]+)", log.read_text(errors="replace"))
    return found[-1] if found else "unknown"


def embedding(seconds: float) -> list[str]:
    """A table: faces a second, median and 95% latency, for each model and number of instances."""
    lines = [
        "| model | instances | on | " + " | ".join(map(str, LOADS)) + " |",
        "|---|---:|---|" + "---:|" * len(LOADS),
    ]
    for model, size in MODELS.items():
        for instances in INSTANCES:
            with serving(model, Setting(instances, CORES, 0)) as folder:
                row = []
                for load in LOADS:
                    load_it(folder, model, load, seconds * WARM, size)
                    row.append(str(load_it(folder, model, load, seconds, size)))
                on = device_of(folder / "triton.log")
            lines.append(f"| {model} | {instances} | {on} | " + " | ".join(row) + " |")
            print(lines[-1], flush=True)
    return lines


@dataclass(frozen=True)
class Answers:
    """Milliseconds of the requests that were answered, and how many got which other status."""

    times: Sequence[float]
    refused: Counter[int]


def ask(url: str, clients: int, seconds: float) -> Answers:
    photo = (DATA / "id_is_2576.jpg").read_bytes()
    end = time.monotonic() + seconds
    times: list[float] = []
    refused: Counter[int] = Counter()

    def client(number: int) -> None:
        with httpx.Client(base_url=url, timeout=120) as api:
            while time.monotonic() < end:
                start = time.perf_counter()
                status = api.post("/infer", content=photo).status_code
                if status == 200:
                    times.append((time.perf_counter() - start) * 1000)
                else:
                    refused[status] += 1
                    time.sleep(0.1)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return Answers(times, refused)


def requests(seconds: float) -> list[str]:
    """A table of whole requests for each model."""
    lines = [
        "| model | clients | photos a second | median | 95% | others |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for model in MODELS:
        with tempfile.TemporaryDirectory(prefix="faces-bench-") as name:
            settings = StackSettings(
                folder=Path(name), port=PORT, model=model, overrides={"limits": {"max_wait": 0}}
            )
            with running(settings):
                for clients in CLIENTS:
                    ask(settings.url, clients, seconds * WARM)
                    found = ask(settings.url, clients, seconds)
                    lines.append(f"| {model} | {clients} | {told(found, seconds)} |")
                    print(lines[-1], flush=True)
    return lines


def told(found: Answers, seconds: float) -> str:
    """The last cells of a line."""
    others = ", ".join(f"{count} x {status}" for status, count in sorted(found.refused.items()))
    if not found.times:
        return f"0 | | | {others}"
    median, late = np.quantile(found.times, (0.5, 0.95))
    rate = len(found.times) / seconds
    return f"{rate:.1f} | {median:.0f} ms | {late:.0f} ms | {others}"


def report(card: str, seconds: float) -> str:
    return "\n".join(
        [
            "# Benchmark: Triton on a GPU",
            "",
            f"Measured by `make bench-gpu`. {card}; {machine('nvidia-pytriton', 'torch', 'ray')}",
            "",
            "## Embedding",
            "",
            "Clients times faces in a request; faces a second, and the median and the 95% latency.",
            "",
            *embedding(seconds),
            "",
            "## A whole request",
            "",
            "`POST /infer` with `data/id_is_2576.jpg`, one face; all but the embedding is done on",
            "the CPU. *Others*: answers with another status, such as 503 for too many at once.",
            "",
            *requests(seconds),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/bench-gpu.md"))
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--cpu", action="store_true", help="also without a GPU")
    args = parser.parse_args()
    if torch.cuda.is_available():
        card = torch.cuda.get_device_name(0)
    elif args.cpu:
        card = "No GPU"
    else:
        raise SystemExit("torch finds no GPU here; --cpu tries the benchmark out without one.")
    args.out.write_text(report(card, args.seconds))
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()
