"""Photos per second of `faces batch`, beside single requests one after the other.

It takes turns on a stack that runs (`make run`), so that a noisy machine meets both alike. The
photos are those of data/2576, repeated; they are put below a prefix of the stack's own bucket, and
removed afterwards.

    python -m tests.bench.jobs [--photos 100] [--rounds 3] [--folder .run] [--url http://127.0.0.1:8000]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from serving.client import Client
from serving.gallery.s3 import S3Store, connect
from serving.settings import GallerySettings
from serving.stack.config import BUCKET
from serving.stack.credentials import credentials
from tests.bench.machine import machine

PHOTOS = Path(__file__).resolve().parents[2] / "data" / "2576"
PREFIX = "bench-jobs"


def single(url: str, photos: list[bytes]) -> float:
    """Photos a second, by one client."""
    with Client(url) as client:
        start = time.perf_counter()
        for photo in photos:
            client.infer(photo)
        return len(photos) / (time.perf_counter() - start)


def batch(env: dict[str, str], store: S3Store, name: str, concurrency: int) -> tuple[float, float]:
    """Photos a second as the summary has it, and MiB of the command at most."""
    where = [f"s3://{BUCKET}/{PREFIX}/in", "--out", f"s3://{BUCKET}/{PREFIX}/{name}"]
    command = [sys.executable, "-m", "serving", "batch", *where, "--concurrency", str(concurrency)]
    running = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(running.pid, 0)
    assert status == 0
    summary = json.loads(store.get(f"{PREFIX}/{name}/summary.json").data)
    return summary["photos_per_second"], usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(".run"))
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--s3", default="http://127.0.0.1:8003")
    options = parser.parse_args()
    keys = credentials(options.folder)
    store = connect(GallerySettings(bucket=BUCKET, endpoint=options.s3), credentials=keys)
    env = {**os.environ, **keys, "AWS_ENDPOINT_URL": options.s3, "FACES_URL": options.url}
    known = [path.read_bytes() for path in sorted(PHOTOS.glob("*.jpg"))]
    photos = [known[n % len(known)] for n in range(options.photos)]
    for n, photo in enumerate(photos):
        store.put(f"{PREFIX}/in/{n:06}.jpg", photo)
    single(options.url, photos[: len(known)])  # to warm up
    print(f"{machine()}load {os.getloadavg()[0]:.1f} before, {len(photos)} photos\n")
    print("| round | single requests | batch, 1 at once | batch, 8 at once | memory, MiB |")
    print("|---|---|---|---|---|")
    try:
        for number in range(options.rounds):
            alone = single(options.url, photos)
            one, _ = batch(env, store, f"one-{number}", 1)
            eight, memory = batch(env, store, f"eight-{number}", 8)
            print(f"| {number + 1} | {alone:.1f} | {one:.1f} | {eight:.1f} | {memory:.0f} |")
    finally:
        for entry in [*store.list(f"{PREFIX}/")]:
            store.delete(entry.key)


if __name__ == "__main__":
    main()
