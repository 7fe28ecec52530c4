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
from contextlib import ExitStack
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


def bench_embedding(services: Mapping[str, StackSettings]) -> list[str]:
    eager = InceptionResnetV1().eval()
    in_process = [runtimes.load(REPOSITORY / s.model) for s in services.values()]
    tritons = [triton_client(s) for s in services.values()]
    columns = [
        "facenet-pytorch",
        *(f"{name} in process" for name in services),
        *(f"{name} in Triton" for name in services),
    ]
    lines = [f"| faces | {' | '.join(columns)} |", f"|---:{'|---:' * len(columns)}|"]
    for batch in (1, 8, 32):
        crops = np.random.default_rng(batch).integers(0, 256, (batch, 3, 160, 160), np.uint8)
        standard = (torch.from_numpy(crops).float() - 127.5) / 128
        with torch.inference_mode():
            times = by_turns(
                lambda standard=standard: eager(standard),  # type: ignore[misc]
                *(lambda run=run, crops=crops: run(crops) for run in (*in_process, *tritons)),
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


@dataclass
class Latencies:
    """Milliseconds of each photo: of facenet-pytorch, and of each service."""

    names: list[str]
    reference: list[float]
    services: dict[str, list[float]]
    stages: dict[str, dict[str, list[float]]]

    def table(self) -> list[str]:
        lines = [
            "| photo | facenet-pytorch, detect + embed in one process | "
            + " | ".join(f"`POST /infer`, {name} | " for name in self.services)
            + "|",
            f"|---|---:{'|---:|---:' * len(self.services)}|",
        ]
        gains = {
            name: [r / t for r, t in zip(self.reference, times, strict=True)]
            for name, times in self.services.items()
        }
        for n, (photo, before) in enumerate(zip(self.names, self.reference, strict=True)):
            cells = (f"{t[n]:.0f} ms | {gains[name][n]:.1f}x" for name, t in self.services.items())
            lines.append(f"| {photo} | {before:.0f} ms | {' | '.join(cells)} |")
        medians = (f"| **{statistics.median(g):.1f}x**" for g in gains.values())
        lines.append(f"| **median** | | {' | '.join(medians)} |")
        return lines

    def where(self) -> list[str]:
        lines = [f"| stage | {' | '.join(self.stages)} |", f"|---{'|---:' * len(self.stages)}|"]
        for stage in next(iter(self.stages.values())):
            cells = (f"{statistics.median(of[stage]):.1f} ms" for of in self.stages.values())
            lines.append(f"| {stage} | {' | '.join(cells)} |")
        return lines

    @property
    def reference_rate(self) -> float:
        """Photos a second."""
        return len(self.reference) * 1000 / sum(self.reference)


def bench_requests(services: Mapping[str, StackSettings], all_scenes: Sequence[Scene]) -> Latencies:
    theirs, net = MTCNN(keep_all=True, post_process=False), InceptionResnetV1().eval()

    def reference(jpeg: bytes) -> None:
        image = Image.open(BytesIO(jpeg)).convert("RGB")
        with torch.inference_mode():
            boxes, _ = theirs.detect(image)
            if boxes is not None:
                crops = theirs.extract(image, boxes, None)
                net((crops - 127.5) / 128)

    found = Latencies([], [], {name: [] for name in services}, {})
    with ExitStack() as open_clients:
        clients = {
            name: Requests(
                open_clients.enter_context(httpx.Client(base_url=settings.url, timeout=120))
            )
            for name, settings in services.items()
        }
        for scene in all_scenes:
            times = by_turns(
                lambda jpeg=scene.jpeg: reference(jpeg),  # type: ignore[misc]
                *(
                    lambda client=client, jpeg=scene.jpeg: client.infer(jpeg)
                    for client in clients.values()
                ),
            )
            print(scene.name, [f"{t:.0f} ms" for t in times], flush=True)
            found.names.append(scene.name)
            found.reference.append(times[0])
            for name, t in zip(services, times[1:], strict=True):
                found.services[name].append(t)
    found.stages = {name: client.stages for name, client in clients.items()}
    return found


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


def report(plot: Path) -> str:
    all_scenes = list(scenes())
    detection = bench_detection(all_scenes)
    with tempfile.TemporaryDirectory(prefix="faces-bench-") as folder, ExitStack() as stacks:
        services = {}
        for n, (name, model) in enumerate(MODELS.items()):
            settings = StackSettings(folder=Path(folder) / name, port=PORT + 20 * n, model=model)
            stacks.enter_context(running(settings))
            assert triton.is_ready(settings.triton_port, model)
            services[name] = settings
        embedding = bench_embedding(services)
        latencies = bench_requests(services, all_scenes)
        throughput = {
            name: bench_clients(settings.url, all_scenes) for name, settings in services.items()
        }
    draw(latencies, plot)
    rates = [
        f"{CLIENTS} clients{'' if not n else f', {name}'}: **{rate:.1f} photos a second**, 95% "
        f"within {late:.0f} ms; facenet-pytorch in one process: {latencies.reference_rate:.1f}, "
        f"so {rate / latencies.reference_rate:.1f}x.\n"
        for n, (name, (rate, late)) in enumerate(throughput.items())
    ]
    print(*rates, flush=True)
    packages = ("torch", "facenet-pytorch", "openvino", "numba", "ray", "nvidia-pytriton")
    return "\n".join(
        [
            "# Measured against facenet-pytorch",
            "",
            "Made by `make bench`: side by side in one run, each photo by turns, medians of "
            f"{REPEAT} repetitions, {CORES} threads for everything. {machine(*packages)}",
            "",
            "Two services stand side by side, which differ in what Triton runs: "
            + " and ".join(f"`{model}` ({name})" for name, model in MODELS.items())
            + f". OpenVINO computes in {precision()} here.",
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
            "## Embedding",
            "",
            *embedding,
            "",
            "## A whole request",
            "",
            "Where the time goes, one client, median over all photos, each stage with its queueing",
            "and transport:",
            "",
            *latencies.where(),
            "",
            "## Each photo",
            "",
            "One client.",
            "",
            *latencies.table(),
            "",
            *rates,
        ]
    )


def precision() -> str:
    """What OpenVINO makes of the hint bf16 on this processor."""
    model = ov.Core().compile_model(
        REPOSITORY / MODELS["OpenVINO"] / "1" / "model.xml",
        "CPU",
        {"INFERENCE_PRECISION_HINT": "bf16"},
    )
    return str(model.get_property("INFERENCE_PRECISION_HINT").to_string())


def draw(latencies: Latencies, path: Path) -> None:
    """Milliseconds a photo, as bars side by side."""
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    bars = {"facenet-pytorch, one process": latencies.reference, **latencies.services}
    places = np.arange(len(latencies.names))
    for n, (name, times) in enumerate(bars.items()):
        label = name if not n else f"POST /infer, {name}"
        axes.bar(places + (n - 1) * 0.27, times, 0.25, label=label)
    axes.set_yscale("log")
    axes.set_ylabel("ms a photo")
    axes.set_xticks(places, latencies.names, rotation=30, ha="right")
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
