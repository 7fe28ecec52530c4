"""Measures whether memory, files or disk grow with the number of photos: `make bench-soak`.

    python -m tests.bench.soak --photos 3000 --out docs/bench-soak.md

It runs the whole one-machine stack with the mixed photos of `tests.support.leftovers`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from serving.settings import ScaleSettings
from serving.stack.config import StackSettings
from serving.stack.process import Process
from serving.stack.run import running
from tests.bench.machine import machine
from tests.bench.pods import own_memory
from tests.support import leftovers
from tests.support.load import replicas

PORT = 15750
CLIENTS = 4
STEP = 500
# Caches and allocators have reached their size by then.
WARM = 1000
STAGES = tuple(ScaleSettings.model_fields)
# The growth between photo `WARM` and the end that still counts as flat.
STORE_MIB, MEMORY_MIB, DISK_MIB, FILES = 1.0, 24.0, 1.0, 4

_STORE = "s until at rest | objects in Ray's store | MiB in it | bytes of it on disk"
_MORE = "MiB on disk | MiB of logs | files with a photo"


@dataclass(frozen=True)
class Sample:
    """A measurement after a number of photos and a rest; MiB.

    Attributes:
        rested: seconds after the last photo when the store held no more than at the start.
        memory: stage -> resident memory of its replica, without shared memory.
        files: stage -> open files of its replica.
        disk: files below Ray's and the stack's folders, without logs and the S3 server's data.
        logs: the logs.
        found: files with a photo in them.
        pids: of the replicas.
    """

    photos: int
    rested: float
    store: leftovers.ObjectStore
    memory: dict[str, float]
    files: dict[str, int]
    disk: float
    logs: float
    found: int
    pids: frozenset[int]


def measure(photos: int) -> tuple[list[Sample], Counter[str], float]:
    """Samples, answers by kind of photo and status, and the seconds that photos took."""
    samples: list[Sample] = []
    answers: Counter[str] = Counter()
    seconds = 0.0
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        stack = StackSettings(folder=Path(name), port=PORT)
        began = time.time()
        with running(stack, print) as (_, _, application), clients() as pool:
            leftovers.rest()
            first = leftovers.object_store(stack.port)
            samples.append(sample(0, (first, 0.0), stack, application, began))
            sending = itertools.islice(leftovers.mixed(), photos)
            with httpx.Client(base_url=stack.url, timeout=60) as api:
                while some := list(itertools.islice(sending, STEP)):
                    start = time.monotonic()
                    for photo, status in zip(
                        some, pool.map(lambda photo: photo.send(api), some), strict=True
                    ):
                        answers[f"{photo.kind}: {status or 'given up'}"] += 1
                    seconds += time.monotonic() - start
                    done = samples[-1].photos + len(some)
                    rested = leftovers.rested(stack.port, first)
                    samples.append(sample(done, rested, stack, application, began))
                    print(f"{done} photos, {seconds:.0f} s", flush=True)
    return samples, answers, seconds


def clients() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CLIENTS)


def sample(
    photos: int,
    rested: tuple[leftovers.ObjectStore, float],
    stack: StackSettings,
    application: Process,
    began: float,
) -> Sample:
    pids = {stage: replicas(application.pid, stage)[0] for stage in STAGES}
    where = leftovers.folders(application, stack.folder) - {Path(tempfile.gettempdir())}
    disk = logs = 0.0
    for path, size in sizes(where):
        if "logs" in path.parts:
            logs += size / 2**20
        elif stack.folder / "s3" not in path.parents:
            disk += size / 2**20
    return Sample(
        photos=photos,
        store=rested[0],
        rested=rested[1],
        memory={stage: own_memory(pid) / 2**20 for stage, pid in pids.items()},
        files={stage: len(list(Path(f"/proc/{pid}/fd").iterdir())) for stage, pid in pids.items()},
        disk=disk,
        logs=logs,
        found=len(leftovers.photos_on_disk(where | {Path(tempfile.gettempdir())}, began)),
        pids=frozenset(pids.values()),
    )


def sizes(folders: set[Path]) -> Iterator[tuple[Path, int]]:
    for folder in folders:
        for path in leftovers.files(folder):
            with suppress(OSError):  # gone meanwhile
                yield path, path.lstat().st_size


def grown(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """The growth since photo `WARM`, and its limit; store, memory and disk in MiB."""
    warm = next((s for s in samples if s.photos >= WARM), samples[0])
    end = samples[-1]
    found = {
        "object store": ((end.store.used - warm.store.used) / 2**20, STORE_MIB),
        "objects in it": (float(end.store.pinned - warm.store.pinned), 0.0),
        "disk": (end.disk - warm.disk, DISK_MIB),
        "files with a photo": (float(end.found), 0.0),
        # One that was killed begins with little memory again.
        "new replicas": (float(len(end.pids - samples[0].pids)), 0.0),
    }
    for stage in STAGES:
        found[f"memory of {stage}"] = (end.memory[stage] - warm.memory[stage], MEMORY_MIB)
        found[f"open files of {stage}"] = (float(end.files[stage] - warm.files[stage]), FILES)
    return found


def page(samples: Sequence[Sample], answers: Counter[str], seconds: float) -> str:
    end = samples[-1]
    steep = {what: by for what, (by, most) in grown(samples).items() if by > most}
    if end.photos <= WARM:
        verdict = f"Too few photos to say whether it is flat past photo {WARM:,}."
    elif steep:
        by_what = ", ".join(f"{what} +{by:.1f}" for what, by in steep.items())
        verdict = f"**Not flat from photo {WARM:,} on:** {by_what}"
    else:
        verdict = f"**Flat from photo {WARM:,} on.**"
    rows = [
        f"| {s.photos:,} | {s.rested:.0f} | {s.store.pinned} | {s.store.used / 2**20:.1f} | "
        f"{s.store.spilled + s.store.on_disk} | "
        + " | ".join(f"{s.memory[stage]:.0f} ({s.files[stage]})" for stage in STAGES)
        + f" | {s.disk:.2f} | {s.logs:.2f} | {s.found} |"
        for s in samples
    ]
    logs = (end.logs - samples[0].logs) * 2**10 / max(1, end.photos)
    most = leftovers.REST_S + leftovers.GATHERED_S
    columns = " | ".join(f"MiB of {stage} (open files)" for stage in STAGES)
    summary = ", ".join(f"{n:,} x {kind}" for kind, n in sorted(answers.items()))
    return f"""# Soak test: memory, files and disk over many photos

Measured by `python -m tests.bench.soak --photos {end.photos}` (`make bench-soak`): the whole
service on one machine, {end.photos:,} photos from {CLIENTS} clients: raw bodies, forms of over 1 MB
and JSON, of 0.4 and 3.2 megapixels, so that decoded photos go through Ray's object store. Some are
damaged, some are abandoned by their callers. {end.photos / seconds:.1f} photos a second. After
every {STEP} photos all clients pause until the store holds no more than at the start, for at most
{most:g} s: a photo that was given up may stay for {leftovers.REST_S:g} s, and Ray's metrics are up
to {leftovers.GATHERED_S:g} s old.
{machine("ray", "starlette")}

{verdict}

| photos | {_STORE} | {columns} | {_MORE} |
|---:|---:|---:|---:|---:|{"---:|" * len(STAGES)}---:|---:|---:|
{chr(10).join(rows)}

- The objects at rest are those of Serve's controller, one for each replica.
- Memory is each replica's private memory (`RssAnon`), without shared memory such as Ray's store.
  Flat means, at the end compared with photo {WARM:,}: at most {MEMORY_MIB:g} MiB more memory, at
  most {STORE_MIB:g} MiB more in the store and on disk, at most {FILES} more open files, no more
  objects, no file with a photo, and the same replicas as at the start.
- Disk is Ray's folder and the stack's, without the gallery and the logs. Logs grow by {logs:.1f}
  KiB a photo, until they are rotated.
- Files with a photo are files in these folders and in the system's temporary folder, written since
  the start, that contain one of the marks that every photo has in its file or in its pixels.

Answers: {summary}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=3000)
    parser.add_argument("--out", type=Path, help="a page in markdown; by default the terminal")
    args = parser.parse_args()
    text = page(*measure(args.photos))
    if args.out is None:
        sys.stdout.write(text)
    else:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
