"""Measure detection, embedding and whole requests side by side; `make bench` runs this.

    python -m tests.bench.pipeline --out docs/bench.md

Compared with facenet-pytorch in one process, on the same cores with as many threads, photos in
turn, medians over the repetitions. The service is the whole one-machine stack: HTTP, Serve, Triton
and S3.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import matplotlib.pyplot as plt
import numpy as np
import openvino as ov
import torch
from facenet_pytorch import MTCNN, InceptionResnetV1
from PIL import Image

from serving.model import runtime
from serving.model.repository import REPOSITORY
from serving.stack import triton
from serving.stack.config import StackSettings
from serving.stack.process import CALM_THREADS
from serving.stack.run import running
from serving.vision.mtcnn.cascade import Cascade
from serving.vision.mtcnn.detector import FaceDetector
from serving.vision.mtcnn.networks import Networks
from tests.bench.machine import CORES, machine
from tests.bench.reference import face_recognition, facenet_pytorch
from tests.bench.scenes import Scene, scenes
from tests.bench.served import MODELS, Triton
from tests.bench.stages import Stages

PORT = 15600
REPEAT = 7
CLIENTS = 8
SECONDS = 10.0


def by_turns(*calls: Callable[[], object], repeat: int = REPEAT) -> list[float]:
    """Medians in milliseconds; the first run of each call does not count."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(repeat + 1):
        for call, kept in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            if turn:
                kept.append((time.perf_counter() - start) * 1000)
    return [statistics.median(kept) for kept in times]


def bench_detection(all_scenes: Sequence[Scene]) -> list[str]:
    theirs = MTCNN(keep_all=True, post_process=False)
    equal = Cascade(Networks.load(CORES), 20)
    ours = FaceDetector(second_look=False)
    lines = [
        "| photo | pixels | faces | facenet-pytorch | same settings | | service's defaults | |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    gains: list[tuple[float, float]] = []
    for scene in all_scenes:
        image = Image.fromarray(scene.pixels)
        with torch.inference_mode():
            reference, same, defaults = by_turns(
                lambda image=image: theirs.detect(image, landmarks=True),  # type: ignore[misc]
                lambda pixels=scene.pixels: equal.find(pixels),  # type: ignore[misc]
                lambda pixels=scene.pixels: ours.detect(pixels),  # type: ignore[misc]
            )
        gains.append((reference / same, reference / defaults))
        height, width = scene.pixels.shape[:2]
        lines.append(
            f"| {scene.name} | {width} x {height} | {len(ours.detect(scene.pixels))} | "
            f"{reference:.0f} ms | {same:.0f} ms | {reference / same:.1f}x | {defaults:.0f} ms | "
            f"{reference / defaults:.1f}x |"
        )
        print(lines[-1], flush=True)
    medians = [statistics.median(g[i] for g in gains) for i in (0, 1)]
    lines.append(f"| **median** | | | | | **{medians[0]:.1f}x** | | **{medians[1]:.1f}x** |")
    return lines


def bench_embedding(name: str, settings: StackSettings) -> list[str]:
    eager = InceptionResnetV1().eval()
    in_process, served = (
        runtime.load(REPOSITORY / settings.model),
        Triton(settings.folder, settings.model),
    )
    lines = [
        f"| faces | facenet-pytorch | {name} in process | Triton over HTTP |",
        "|---:|---:|---:|---:|",
    ]
    for batch in (1, 8, 32):
        crops = np.random.default_rng(batch).integers(0, 256, (batch, 3, 160, 160), np.uint8)
        standard = (torch.from_numpy(crops).float() - 127.5) / 128
        with torch.inference_mode():
            times = by_turns(
                lambda standard=standard: eager(standard),  # type: ignore[misc]
                lambda crops=crops: in_process(crops),  # type: ignore[misc]
                lambda crops=crops: served.infer(crops),  # type: ignore[misc]
            )
        lines.append(
            f"| {batch} | " + " | ".join(f"{t / batch:.1f} ms a face" for t in times) + " |"
        )
        print(lines[-1], flush=True)
    return lines


@dataclass(frozen=True)
class Latencies:
    """Milliseconds of each photo, in turn, and of each stage in all requests."""

    names: list[str]
    facenet_pytorch: list[float]
    face_recognition: list[float] | None
    service: list[float]
    stages: Stages

    def table(self) -> list[str]:
        gains = [r / t for r, t in zip(self.facenet_pytorch, self.service, strict=True)]
        columns = {"facenet-pytorch": self.facenet_pytorch}
        if self.face_recognition:
            columns["face_recognition"] = self.face_recognition
        columns["`POST /infer`"] = self.service
        lines = [
            f"| photo | {' | '.join(columns)} | gain over facenet-pytorch |",
            "|---" + "|---:" * (len(columns) + 1) + "|",
        ]
        for name, gain, *times in zip(self.names, gains, *columns.values(), strict=True):
            cells = " | ".join(f"{ms:.0f} ms" for ms in times)
            lines.append(f"| {name} | {cells} | {gain:.1f}x |")
        empty = "| " * len(columns)
        return [*lines, f"| **median** {empty}| **{statistics.median(gains):.1f}x** |"]

    @property
    def reference_rate(self) -> float:
        """Photos a second of facenet-pytorch."""
        return len(self.names) * 1000 / sum(self.facenet_pytorch)


def bench_requests(settings: StackSettings, all_scenes: Sequence[Scene], dlib: bool) -> Latencies:
    references = [facenet_pytorch()]
    if dlib and (library := face_recognition()) is not None:
        references.append(library)
    stages, served = Stages(), Triton(settings.folder, settings.model)
    found: list[list[float]] = []
    with httpx.Client(base_url=settings.url, timeout=120) as api:

        def infer(jpeg: bytes) -> None:
            before = served.computed()
            stages.infer(api, jpeg)
            stages.worked["embed"].append(served.computed() - before)

        for scene in all_scenes:
            times = by_turns(*(partial(call, scene.jpeg) for call in (*references, infer)))
            times[-1] = statistics.median(stages.whole[-REPEAT:])  # Triton's statistics apart
            found.append(times)
            print(scene.name, *(f"{ms:.0f} ms" for ms in times), flush=True)
    names = [scene.name for scene in all_scenes]
    columns = [list(column) for column in zip(*found, strict=True)]
    return Latencies(
        names, columns[0], columns[1] if len(columns) == 3 else None, columns[-1], stages
    )


def bench_clients(url: str, all_scenes: Sequence[Scene]) -> tuple[float, float]:
    """Photos a second with `CLIENTS` clients, and the 95% latency in milliseconds."""
    end = time.monotonic() + SECONDS

    def client(number: int) -> list[float]:
        times: list[float] = []
        with httpx.Client(base_url=url, timeout=120) as api:
            while time.monotonic() < end or len(times) % len(all_scenes):
                scene = all_scenes[(number + len(times)) % len(all_scenes)]
                start = time.perf_counter()
                answer = api.post(
                    "/infer", content=scene.jpeg, headers={"content-type": "image/jpeg"}
                )
                assert answer.status_code == 200, answer.text
                times.append((time.perf_counter() - start) * 1000)
        return times

    start = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        times = [t for times in pool.map(client, range(CLIENTS)) for t in times]
    return len(times) / (time.monotonic() - start), float(np.quantile(times, 0.95))


@dataclass(frozen=True)
class Measured:
    """Measurements of one service."""

    embedding: list[str]
    latencies: Latencies
    rate: float  # photos a second with `CLIENTS` clients
    late: float  # ms, 95% of them

    def clients(self) -> str:
        reference = self.latencies.reference_rate
        return (
            f"{CLIENTS} clients: **{self.rate:.1f} photos a second**, 95% within {self.late:.0f} "
            f"ms; facenet-pytorch in one process: {reference:.1f}, "
            f"so {self.rate / reference:.1f}x."
        )


def bench_service(name: str, model: str, all_scenes: Sequence[Scene], dlib: bool) -> Measured:
    with tempfile.TemporaryDirectory(prefix="faces-bench-") as folder:
        settings = StackSettings(
            folder=Path(folder),
            port=PORT,
            model=model,
            overrides={"limits": {"max_wait": 0}},  # all clients shall wait
        )
        with running(settings):
            assert triton.is_ready(settings.folder, model)
            measured = Measured(
                bench_embedding(name, settings),
                bench_requests(settings, all_scenes, dlib),
                *bench_clients(settings.url, all_scenes),
            )
    print(f"{name}: {measured.clients()}", flush=True)
    return measured


def report(plot: Path) -> str:
    all_scenes = list(scenes())
    detection = bench_detection(all_scenes)
    services = {
        name: bench_service(name, model, all_scenes, dlib=not n)
        for n, (name, model) in enumerate(MODELS.items())
    }
    draw({name: measured.latencies for name, measured in services.items()}, plot)
    packages = ("torch", "facenet-pytorch", "openvino", "numba", "ray", "nvidia-pytriton")
    text = [
        "# Benchmark: the service against facenet-pytorch",
        "",
        "Measured by `make bench`: side by side in one run, each photo in turn, medians of "
        f"{REPEAT} repetitions, {CORES} threads for each candidate. {machine(*packages)}",
        "",
        "The service was measured twice, with "
        + " and ".join(f"`{model}` ({name})" for name, model in MODELS.items())
        + " in Triton, each time beside a new measurement of facenet-pytorch. OpenVINO computes in "
        f"{precision()} here.",
        "",
        f"![Milliseconds a photo]({plot.name})",
        "",
        "Searching among 10,000 to 1,000,000 people: [bench-gallery.md](bench-gallery.md); "
        "Triton's settings: [bench-triton.md](bench-triton.md); replicas under load: "
        "[scaling.md](scaling.md).",
        "",
        "## Detection",
        "",
        "Both find the same faces: `tests/unit/vision/mtcnn/test_cascade.py` compares boxes,",
        "landmarks and scores. *Same settings* are `min_face_size` 20 and the photo at its full",
        "size; the service's defaults are 20 and a longest side of 1440.",
        "",
        *detection,
        "",
    ]
    for n, (name, measured) in enumerate(services.items()):
        which = f", {name}" if n else ""
        text += [
            f"## Embedding{which}",
            "",
            *measured.embedding,
            "",
            f"## A whole request{which}",
            "",
            "One client; the libraries detect and embed in one process."
            + ("" if n else " dlib's face_recognition computes in one thread."),
            "",
            *measured.latencies.table(),
            "",
            "Median times of the stages over all photos. The work of `embed` is from Triton's own "
            "statistics; HTTP is the rest of the client's wait:",
            "",
            *measured.latencies.stages.table(),
            "",
            f"Transport, queueing and HTTP together: **{measured.latencies.stages.apart():.0f} ms**"
            " (median).",
            "",
            measured.clients(),
            "",
        ]
    return "\n".join(text)


def precision() -> str:
    """The precision that OpenVINO uses for the hint bf16 on this processor."""
    model = ov.Core().compile_model(
        REPOSITORY / MODELS["OpenVINO"] / "1" / "model.xml",
        "CPU",
        {"INFERENCE_PRECISION_HINT": "bf16"},
    )
    return str(model.get_property("INFERENCE_PRECISION_HINT").to_string())


def draw(services: Mapping[str, Latencies], path: Path) -> None:
    """Milliseconds a photo, as bars side by side."""
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    first = next(iter(services.values()))
    bars = {"facenet-pytorch, one process": first.facenet_pytorch}
    if first.face_recognition:
        bars["face_recognition (dlib), one process"] = first.face_recognition
    bars |= {f"POST /infer, {name}": found.service for name, found in services.items()}
    places = np.arange(len(first.names))
    for n, (label, times) in enumerate(bars.items()):
        axes.bar(places + (n + 0.5 - len(bars) / 2) * 0.22, times, 0.2, label=label)
    axes.set_yscale("log")
    axes.set_ylabel("ms a photo")
    axes.set_xticks(places, first.names, rotation=30, ha="right")
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/bench.md"))
    args = parser.parse_args()
    torch.set_num_threads(CORES)
    text = report(args.out.with_suffix(".png"))
    args.out.write_text(text)
    print(f"written to {args.out}")


if __name__ == "__main__":
    assert os.environ.get("GOMP_SPINCOUNT") == CALM_THREADS["GOMP_SPINCOUNT"], "use make bench"
    main()
