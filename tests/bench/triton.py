"""Measure Triton's settings under load; `make bench-triton` runs this.

    python -m tests.bench.triton --out docs/bench-triton.md

Each setting is a model repository and a tritonserver of its own, on all cores of this machine.
Each client waits for its answer before its next request.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.model.repository import REPOSITORY
from serving.stack import triton
from tests.bench.machine import CORES, machine
from tests.bench.served import MODELS, Triton

PORT = 15680
SECONDS = 5.0
WARM_SECONDS = 1.0


@dataclass(frozen=True)
class Setting:
    """Settings of one tritonserver; ``delay`` in microseconds, None: no dynamic batching."""

    instances: int
    threads: int
    delay: int | None

    def __str__(self) -> str:
        instances = f"{self.instances} x {self.threads} thread{'s' * (self.threads > 1)}"
        batching = "no" if self.delay is None else f"waits {self.delay / 1000:g} ms"
        return f"{instances} | {batching}"

    def config(self, shipped: str) -> str:
        """The shipped config.pbtxt with this setting."""
        text = re.sub(r"count: \d+", f"count: {self.instances}", shipped)
        batching = re.compile(r"dynamic_batching \{.*?\n\}\n", re.DOTALL)
        assert batching.search(text)
        if self.delay is None:
            return batching.sub("", text)
        delay = f"max_queue_delay_microseconds: {self.delay}"
        return re.sub(r"max_queue_delay_microseconds: \d+", delay, text)


@dataclass(frozen=True)
class Load:
    """A number of clients, and the number of faces in each request."""

    clients: int
    faces: int

    def __str__(self) -> str:
        return f"{self.clients} x {self.faces}"


# The shipped setting first.
SETTINGS = (
    Setting(1, CORES, 0),
    Setting(1, CORES, None),
    Setting(1, CORES, 1000),
    Setting(1, CORES, 5000),
    Setting(CORES, 1, 0),
    Setting(2, CORES, 0),
    Setting(1, 1, 0),
)
LOADS = (Load(1, 1), Load(1, 8), Load(4, 1), Load(16, 1), Load(8, 4))


@dataclass(frozen=True)
class Result:
    """Faces a second, and the median and 95% of a request in milliseconds."""

    rate: float
    median: float
    late: float

    def __str__(self) -> str:
        return f"{self.rate:.0f}/s, {self.median:.0f} / {self.late:.0f} ms"


@contextmanager
def serving(model: str, setting: Setting) -> Iterator[Path]:
    """Yields the folder of the repository."""
    with tempfile.TemporaryDirectory(prefix="faces-triton-") as name:
        # The backends are beside it, as in the project's own repository.
        folder = Path(name)
        (folder / "backends").symlink_to(REPOSITORY.parent / "backends")
        ours = folder / "models" / model
        ours.mkdir(parents=True)
        (ours / "1").symlink_to(REPOSITORY / model / "1")
        shipped = (REPOSITORY / model / "config.pbtxt").read_text()
        (ours / "config.pbtxt").write_text(setting.config(shipped))
        server = triton.start(folder, folder, PORT, folder / "models", model, setting.threads)
        try:
            server.wait_until(lambda: triton.is_ready(folder, model), 120)
            yield folder
        finally:
            server.stop(10)


def load_it(folder: Path, model: str, load: Load, seconds: float, size: int = 160) -> Result:
    """``size``: of the crops that the model takes, in pixels."""
    crops = np.random.default_rng(0).integers(0, 256, (load.faces, 3, size, size), np.uint8)
    end = time.monotonic() + seconds

    def ask(number: int) -> list[float]:
        times: list[float] = []
        served = Triton(folder, model)
        while time.monotonic() < end:
            start = time.perf_counter()
            served.infer(crops)
            times.append((time.perf_counter() - start) * 1000)
        return times

    start = time.monotonic()
    with ThreadPoolExecutor(load.clients) as pool:
        times = [t for each in pool.map(ask, range(load.clients)) for t in each]
    rate = len(times) * load.faces / (time.monotonic() - start)
    return Result(rate, statistics.median(times), float(np.quantile(times, 0.95)))


def measure(model: str, settings: Sequence[Setting]) -> list[str]:
    lines = [
        "| instances | batching | " + " | ".join(map(str, LOADS)) + " |",
        "|---|---|" + "---:|" * len(LOADS),
    ]
    for setting in settings:
        row = []
        with serving(model, setting) as folder:
            for load in LOADS:
                for seconds in (WARM_SECONDS, SECONDS):
                    result = load_it(folder, model, load, seconds)
                row.append(result)
        lines.append(f"| {setting} | " + " | ".join(map(str, row)) + " |")
        print(lines[-1], flush=True)
    return lines


def report() -> str:
    text = [
        "# Benchmark: Triton's settings",
        "",
        f"Measured by `make bench-triton`. {machine('nvidia-pytriton', 'torch', 'openvino')}",
        "",
        "Each line is a separate tritonserver; the first has the shipped settings. Each column is",
        "a load: the number of clients, each of which waits for an answer before its next request,",
        "times the faces in a request. The cells hold faces a second, and the median and the 95%",
        "latency of a request. The clients share the cores with Triton.",
        "",
    ]
    for name, model in MODELS.items():
        text += [f"## {name}", "", *measure(model, SETTINGS), ""]
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/bench-triton.md"))
    args = parser.parse_args()
    args.out.write_text(report())
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()
