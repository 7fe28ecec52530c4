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
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import torch
from facenet_pytorch import MTCNN, InceptionResnetV1
from numpy.typing import NDArray
from PIL import Image

from serving.cascade import Cascade
from serving.cascade_nets import Networks
from serving.local import triton
from serving.local.process import CALM_THREADS
from serving.mtcnn import FaceDetector
from serving.stack import REPOSITORY, StackSettings, running
from tests.bench.machine import machine

DATA = Path(__file__).resolve().parents[2] / "data"
PORT = 15600
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


def bench_embedding(url: str, model: str) -> list[str]:
    import tritonclient.http as client

    eager = InceptionResnetV1().eval()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit", FutureWarning)
        traced = torch.jit.load(str(REPOSITORY / model / "1" / "model.pt"))  # type: ignore[no-untyped-call]
    triton_client = client.InferenceServerClient(url)
    lines = [
        "| faces | facenet-pytorch | TorchScript in process | Triton over HTTP |",
        "|---:|---:|---:|---:|",
    ]
    for batch in (1, 8, 32):
        crops = np.random.default_rng(batch).integers(0, 256, (batch, 3, 160, 160), np.uint8)
        tensor = client.InferInput("INPUT__0", list(crops.shape), "UINT8")
        tensor.set_data_from_numpy(crops)
        standard = (torch.from_numpy(crops).float() - 127.5) / 128
        with torch.inference_mode():
            times = by_turns(
                lambda standard=standard: eager(standard),  # type: ignore[misc]
                lambda crops=crops: traced(torch.from_numpy(crops)),  # type: ignore[misc]
                lambda tensor=tensor: triton_client.infer(model, [tensor]),  # type: ignore[misc]
            )
        lines.append(
            f"| {batch} | " + " | ".join(f"{t / batch:.1f} ms a face" for t in times) + " |"
        )
        print(lines[-1], flush=True)
    return lines


def bench_requests(url: str, all_scenes: Sequence[Scene]) -> tuple[list[str], list[str], float]:
    """Latency by photo, and where the time goes; photos a second of facenet-pytorch last."""
    theirs, net = MTCNN(keep_all=True, post_process=False), InceptionResnetV1().eval()

    def reference(jpeg: bytes) -> None:
        image = Image.open(BytesIO(jpeg)).convert("RGB")
        with torch.inference_mode():
            boxes, _ = theirs.detect(image)
            if boxes is not None:
                crops = theirs.extract(image, boxes, None)
                net((crops - 127.5) / 128)

    stages: dict[str, list[float]] = defaultdict(list)
    with httpx.Client(base_url=url, timeout=120) as api:

        def service(jpeg: bytes) -> None:
            start = time.perf_counter()
            answer = api.post("/infer", content=jpeg, headers={"content-type": "image/jpeg"})
            total = (time.perf_counter() - start) * 1000
            assert answer.status_code == 200, answer.text
            told = {
                name: float(duration)
                for name, _, duration in (
                    part.partition(";dur=") for part in answer.headers["server-timing"].split(", ")
                )
            }
            for name, value in told.items():
                stages[name].append(value)
            stages["HTTP"].append(total - sum(told.values()))

        lines = [
            "| photo | facenet-pytorch, detect + embed in one process | `POST /infer` | |",
            "|---|---:|---:|---:|",
        ]
        gains = []
        rates = []
        for scene in all_scenes:
            before, after = by_turns(
                lambda jpeg=scene.jpeg: reference(jpeg),  # type: ignore[misc]
                lambda jpeg=scene.jpeg: service(jpeg),  # type: ignore[misc]
            )
            gains.append(before / after)
            rates.append(before)
            lines.append(
                f"| {scene.name} | {before:.0f} ms | {after:.0f} ms | {before / after:.1f}x |"
            )
            print(lines[-1], flush=True)
    lines.append(f"| **median** | | | **{statistics.median(gains):.1f}x** |")
    where = ["| stage | median |", "|---|---:|"]
    where += [f"| {name} | {statistics.median(v):.1f} ms |" for name, v in stages.items()]
    return lines, where, len(rates) * 1000 / sum(rates)


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


def report() -> str:
    all_scenes = list(scenes())
    model = StackSettings().model
    detection = bench_detection(all_scenes)
    with tempfile.TemporaryDirectory(prefix="faces-bench-") as folder:
        settings = StackSettings(folder=Path(folder), port=PORT)
        with running(settings):
            assert triton.is_ready(settings.triton_port, model)
            embedding = bench_embedding(f"127.0.0.1:{settings.triton_port}", model)
            requests, where, reference_rate = bench_requests(settings.url, all_scenes)
            rate, late = bench_clients(settings.url, all_scenes)
    print(f"{CLIENTS} clients: {rate:.1f} photos/s, facenet-pytorch {reference_rate:.1f}")
    packages = ("torch", "facenet-pytorch", "openvino", "ray", "nvidia-pytriton")
    return "\n".join(
        [
            "# Measured against facenet-pytorch",
            "",
            "Made by `make bench`: side by side in one run, each photo by turns, medians of "
            f"{REPEAT} repetitions, {CORES} threads for everything. {machine(*packages)}",
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
            "One client.",
            "",
            *requests,
            "",
            "Where the time goes, over all photos, each stage with its queueing and transport:",
            "",
            *where,
            "",
            f"{CLIENTS} clients: **{rate:.1f} photos a second**, 95% within {late:.0f} ms; "
            f"facenet-pytorch in one process: {reference_rate:.1f}, "
            f"so {rate / reference_rate:.1f}x.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/bench.md"))
    args = parser.parse_args()
    torch.set_num_threads(CORES)
    text = report()
    args.out.write_text(text)
    print(f"written to {args.out}")


if __name__ == "__main__":
    assert os.environ.get("GOMP_SPINCOUNT") == CALM_THREADS["GOMP_SPINCOUNT"], "use make bench"
    main()
