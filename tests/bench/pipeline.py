"""Measure detection, embedding and whole requests side by side; `make bench` runs this.

    python -m tests.bench.pipeline --out docs/bench.md

Against facenet-pytorch in one process, on the same cores and as many threads, each photo by turns,
medians over the repetitions. The service is the whole one-machine stack: HTTP, Serve, Triton, S3.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import matplotlib.pyplot as plt
import numpy as np
import openvino as ov
import torch
from facenet_pytorch import MTCNN, InceptionResnetV1
from numpy.typing import NDArray
from PIL import Image

from serving import runtimes
from serving.cascade import Cascade
from serving.cascade_nets import Networks
from serving.local import triton
from serving.local.process import CALM_THREADS
from serving.mtcnn import FaceDetector
from serving.stack import REPOSITORY, StackSettings, running
from tests.bench.machine import machine

DATA = Path(__file__).resolve().parents[2] / "data"
PORT = 15600
MODELS = {
    "TorchScript": "facenet-casia-webface",
    "OpenVINO": "facenet-casia-webface-openvino",
}
REPEAT = 7
CLIENTS = 8
SECONDS = 10.0
CORES = len(os.sched_getaffinity(0))

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    name: str
    pixels: Pixels
    jpeg: bytes


def scenes() -> Iterator[Scene]:
    """The project's own photos, and rooms full of their faces."""
    for path in (
        "id_is_2576.jpg",
        "group.jpg",
        "people/101/macron_2025.jpg",
        "people/102/obama.jpg",
    ):
        with Image.open(DATA / path) as image:
            pixels = np.asarray(image.convert("RGB"))
        yield Scene(path.rpartition("/")[2], pixels, (DATA / path).read_bytes())
    for width, height, faces in ((640, 480, 1), (1366, 768, 8), (1920, 1080, 20), (2280, 1588, 60)):
        pixels = room(width, height, faces)
        out = BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=90)
        yield Scene(f"generated, {faces} faces", pixels, out.getvalue())


def room(width: int, height: int, faces: int) -> Pixels:
    """So many heads before a background that is busy, as rooms are."""
    rng = np.random.default_rng(faces)
    coarse = rng.integers(0, 256, (height // 40, width // 40, 3), np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    columns = int(np.ceil(np.sqrt(faces * width / height)))
    rows = -(-faces // columns)
    side = int(0.8 * min(width / columns, height / rows, 300))
    heads = [
        Image.open(DATA / path).convert("RGB").crop(box)
        for path, box in (
            ("id_is_2576.jpg", (120, 60, 600, 600)),
            ("group.jpg", (1320, 110, 1620, 460)),
            ("people/101/macron_2025.jpg", (130, 100, 600, 660)),
        )
    ]
    for n in range(faces):
        head = heads[n % 3] if n % 3 < 2 else heads[0].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        x = int((n % columns + 0.1) * width / columns)
        y = int((n // columns + 0.1) * height / rows)
        image.paste(head.resize((side, side)), (x, y))
    return np.asarray(image)


def by_turns(*calls: Callable[[], object], repeat: int = REPEAT) -> list[float]:
    """Medians in milliseconds, each call once before it counts."""
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
    in_process, served = runtimes.load(REPOSITORY / settings.model), triton_client(settings)
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
                lambda crops=crops: served(crops),  # type: ignore[misc]
            )
        lines.append(
            f"| {batch} | " + " | ".join(f"{t / batch:.1f} ms a face" for t in times) + " |"
        )
        print(lines[-1], flush=True)
    return lines


def triton_client(settings: StackSettings) -> Callable[[Pixels], object]:
    import tritonclient.http as client

    connection = client.InferenceServerClient(f"127.0.0.1:{settings.triton_port}")

    def infer(crops: Pixels) -> object:
        tensor = client.InferInput("INPUT__0", list(crops.shape), "UINT8")
        tensor.set_data_from_numpy(crops)
        return connection.infer(settings.model, [tensor])

    return infer


class Requests:
    """A client of one service, which keeps what the answers tell of the stages."""

    def __init__(self, api: httpx.Client) -> None:
        self._api = api
        self.stages: dict[str, list[float]] = defaultdict(list)

    def infer(self, jpeg: bytes) -> None:
        start = time.perf_counter()
        answer = self._api.post("/infer", content=jpeg, headers={"content-type": "image/jpeg"})
        total = (time.perf_counter() - start) * 1000
        assert answer.status_code == 200, answer.text
        told = {
            name: float(duration)
            for name, _, duration in (
                part.partition(";dur=") for part in answer.headers["server-timing"].split(", ")
            )
        }
        for name, value in told.items():
            self.stages[name].append(value)
        self.stages["HTTP"].append(total - sum(told.values()))


@dataclass(frozen=True)
class Latencies:
    """Milliseconds of each photo, by turns, and of each stage in all requests."""

    names: list[str]
    reference: list[float]  # facenet-pytorch
    service: list[float]
    stages: dict[str, list[float]]

    def table(self) -> list[str]:
        gains = [r / t for r, t in zip(self.reference, self.service, strict=True)]
        rows = zip(self.names, self.reference, self.service, gains, strict=True)
        return [
            "| photo | facenet-pytorch, detect + embed in one process | `POST /infer` | |",
            "|---|---:|---:|---:|",
            *(f"| {name} | {r:.0f} ms | {t:.0f} ms | {gain:.1f}x |" for name, r, t, gain in rows),
            f"| **median** | | | **{statistics.median(gains):.1f}x** |",
        ]

    def where(self) -> list[str]:
        medians = {stage: statistics.median(times) for stage, times in self.stages.items()}
        return [
            "| stage | median |",
            "|---|---:|",
            *(f"| {stage} | {time:.1f} ms |" for stage, time in medians.items()),
        ]

    @property
    def reference_rate(self) -> float:
        """Photos a second."""
        return len(self.reference) * 1000 / sum(self.reference)


def bench_requests(url: str, all_scenes: Sequence[Scene]) -> Latencies:
    theirs, net = MTCNN(keep_all=True, post_process=False), InceptionResnetV1().eval()

    def reference(jpeg: bytes) -> None:
        image = Image.open(BytesIO(jpeg)).convert("RGB")
        with torch.inference_mode():
            boxes, _ = theirs.detect(image)
            if boxes is not None:
                crops = theirs.extract(image, boxes, None)
                net((crops - 127.5) / 128)

    found: list[tuple[float, float]] = []
    with httpx.Client(base_url=url, timeout=120) as api:
        requests = Requests(api)
        for scene in all_scenes:
            before, after = by_turns(
                lambda jpeg=scene.jpeg: reference(jpeg),  # type: ignore[misc]
                lambda jpeg=scene.jpeg: requests.infer(jpeg),  # type: ignore[misc]
            )
            print(f"{scene.name}: {before:.0f} ms, {after:.0f} ms", flush=True)
            found.append((before, after))
    names = [scene.name for scene in all_scenes]
    return Latencies(names, [f[0] for f in found], [f[1] for f in found], requests.stages)


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
    """Of one service."""

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


def bench_service(name: str, model: str, all_scenes: Sequence[Scene]) -> Measured:
    with tempfile.TemporaryDirectory(prefix="faces-bench-") as folder:
        settings = StackSettings(folder=Path(folder), port=PORT, model=model)
        with running(settings):
            assert triton.is_ready(settings.triton_port, model)
            measured = Measured(
                bench_embedding(name, settings),
                bench_requests(settings.url, all_scenes),
                *bench_clients(settings.url, all_scenes),
            )
    print(f"{name}: {measured.clients()}", flush=True)
    return measured


def report(plot: Path) -> str:
    all_scenes = list(scenes())
    detection = bench_detection(all_scenes)
    services = {name: bench_service(name, model, all_scenes) for name, model in MODELS.items()}
    draw({name: measured.latencies for name, measured in services.items()}, plot)
    packages = ("torch", "facenet-pytorch", "openvino", "numba", "ray", "nvidia-pytriton")
    text = [
        "# Measured against facenet-pytorch",
        "",
        "Made by `make bench`: side by side in one run, each photo by turns, medians of "
        f"{REPEAT} repetitions, {CORES} threads for everything. {machine(*packages)}",
        "",
        "The service was measured twice, with "
        + " and ".join(f"`{model}` ({name})" for name, model in MODELS.items())
        + f" in Triton, each time against facenet-pytorch anew. OpenVINO computes in {precision()}"
        " here.",
        "",
        f"![Milliseconds a photo]({plot.name})",
        "",
        "## Detection",
        "",
        "The same faces: `tests/unit/test_cascade.py` compares boxes, landmarks and scores",
        "with facenet-pytorch's. The same settings are `min_face_size` 20 and the photo at its",
        "full size; the service's defaults are 20 and a longest side of 1280.",
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
            "One client.",
            "",
            *measured.latencies.table(),
            "",
            "Where the time goes, over all photos, each stage with its queueing and transport:",
            "",
            *measured.latencies.where(),
            "",
            measured.clients(),
            "",
        ]
    return "\n".join(text)


def precision() -> str:
    """What OpenVINO makes of the hint bf16 on this processor."""
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
    bars = {"facenet-pytorch, one process": first.reference}
    bars |= {f"POST /infer, {name}": found.service for name, found in services.items()}
    places = np.arange(len(first.names))
    for n, (label, times) in enumerate(bars.items()):
        axes.bar(places + (n - 1) * 0.27, times, 0.25, label=label)
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
