"""Measure how a gallery of ten million people can be searched; docs/gallery-size.md has the result.

    python -m tests.bench.gallery_size FOLDER --people 10000000

The people are made once, into 1,064 bytes of FOLDER each, which has to be on local disk; delete it
afterwards. It prints tables in Markdown.

They are distributed as real embeddings are, see `data/make_gallery.py`. The probes are other photos
of people in the gallery, some of them bad, and photos of strangers.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from serving.gallery.columns import codes_of
from serving.gallery.disk import Disk
from serving.gallery.segment import Kind, Segment
from serving.gallery.state import People
from tests.bench.gallery import DIMENSION, face_space
from tests.bench.machine import machine

KNOWN, STRANGERS = 2000, 500
AT_ONCE = 16_384
# Embeddings have no more dimensions than this: 99.99% of their squared length.
_INNER = 128
_SOURCES = 8
MEASURED = np.r_[0:400, KNOWN : KNOWN + 100]

Rows = NDArray[np.float32]


class Files:
    """What was made: ``rows`` float16 (N, 512), ``probes`` float32 (P, 512), and ``best`` int64
    (P, 20), the people who are exactly the nearest to each probe, in the order of the cosine."""

    def __init__(self, folder: Path, people: int) -> None:
        self.path, self.people = folder / "rows.f16", people
        self.rows = np.memmap(self.path, np.float16, "r", shape=(people, DIMENSION))
        self.probes: Rows = np.load(folder / "probes.npy")
        self.best = np.load(folder / "exact.npz")["i"]


def make(folder: Path, people: int) -> None:
    values, vectors = np.linalg.eigh(face_space().astype(np.float64))
    scale = values[::-1][:_INNER].astype(np.float32)
    basis = np.ascontiguousarray(vectors[:, ::-1][:, :_INNER].astype(np.float32))
    rng = np.random.default_rng(10)
    sources = rng.standard_normal((_SOURCES, _INNER), np.float32)

    def drawn(count: int) -> Rows:
        own = rng.standard_normal((count, _INNER), np.float32)
        made: Rows = np.sqrt(np.float32(0.1)) * sources[rng.integers(0, _SOURCES, count)]
        made += np.sqrt(np.float32(0.9)) * own
        return made

    def photos(of: Rows) -> Rows:
        spread = 0.36 * np.exp(0.8 * rng.standard_normal(len(of), np.float32))
        made = of + np.sqrt(spread)[:, None] * rng.standard_normal(of.shape, np.float32)
        made = made * scale
        unit: Rows = made / np.linalg.norm(made, axis=1, keepdims=True)
        return unit

    at = np.arange(KNOWN) * (people // KNOWN)
    known = drawn(KNOWN)
    probes = np.concatenate([photos(known), photos(drawn(STRANGERS))])
    np.save(folder / "probes.npy", (probes @ basis.T).astype(np.float32))
    best, where = np.full((len(probes), 20), -2, np.float32), np.zeros((len(probes), 20), np.int64)
    asked = torch.from_numpy(probes)
    with (folder / "rows.f16").open("wb") as out:
        for start in range(0, people, AT_ONCE):
            person = drawn(min(AT_ONCE, people - start))
            here = np.flatnonzero((at >= start) & (at < start + len(person)))
            person[at[here] - start] = known[here]
            made = photos(person)
            (made @ basis.T).astype(np.float16).tofile(out)
            cosines = asked @ torch.from_numpy(made).T
            better = cosines > torch.from_numpy(best[:, -1:].copy())
            for probe in torch.nonzero(better.any(dim=1)).ravel().tolist():
                inside = torch.nonzero(better[probe]).ravel()
                new = np.concatenate([best[probe], cosines[probe, inside].numpy()])
                slots = np.concatenate([where[probe], inside.numpy() + start])
                order = np.argsort(-new)[:20]
                best[probe], where[probe] = new[order], slots[order]
    np.savez(folder / "exact.npz", d=best, i=where)


# --- scans ---------------------------------------------------------------------------------------


@njit(nogil=True)
def _bits(x):  # type: ignore[no-untyped-def]
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit(nogil=True)
def _histogram(codes, probe, step, out):  # type: ignore[no-untyped-def]
    for i in range(0, codes.shape[0], step):
        distance = np.uint64(0)
        for word in range(codes.shape[1]):
            distance += _bits(codes[i, word] ^ probe[word])
        out[distance] += 1


@njit(nogil=True)
def _within(codes, probe, most, slots):  # type: ignore[no-untyped-def]
    count = 0
    for i in range(codes.shape[0]):
        distance = np.uint64(0)
        for word in range(codes.shape[1]):
            distance += _bits(codes[i, word] ^ probe[word])
        slots[count] = i
        count += distance <= most
    return count


@njit(nogil=True)
def _distances(codes, probe, slots, out):  # type: ignore[no-untyped-def]
    for n in range(slots.shape[0]):
        distance = np.uint64(0)
        for word in range(codes.shape[1]):
            distance += _bits(codes[slots[n], word] ^ probe[word])
        out[n] = distance


class TwoStages:
    """A share of all by a short code, of these the best 1,000 by the full one."""

    def __init__(self, short: NDArray[np.uint8], full: NDArray[np.uint8], share: float) -> None:
        self._short, self._full = short.view(np.uint64), full.view(np.uint64)
        self._share = share
        self._slots = np.empty(len(full) + 1, np.uint32)
        self._of = np.empty(len(full), np.uint16)

    def __call__(self, short: NDArray[np.uint8], full: NDArray[np.uint8]) -> NDArray[Any]:
        probe = short.view(np.uint64)
        counts = np.zeros(64 * self._short.shape[1] + 1, np.int64)
        _histogram(self._short, probe, 127, counts)
        most = np.searchsorted(counts.cumsum(), self._share * counts.sum())
        slots = self._slots[: _within(self._short, probe, most, self._slots)]
        distances = self._of[: len(slots)]
        _distances(self._full, full.view(np.uint64), slots, distances)
        best = min(1000, len(slots))
        nearest: NDArray[Any] = slots[np.argpartition(distances, best - 1)[:best]]
        return nearest


def frame(sample: Rows, bits: int, inner: int = 64) -> Rows:
    """(512, bits): random orthonormal frames in the leading directions of a sample."""
    rng = np.random.default_rng(1)
    _, vectors = np.linalg.eigh(sample.T @ sample)
    leading = vectors[:, ::-1][:, :inner]
    frames = [
        leading @ np.linalg.qr(rng.standard_normal((inner, inner)))[0]
        for _ in range(-(-bits // inner))
    ]
    made: Rows = np.concatenate(frames, axis=1)[:, :bits].astype(np.float32)
    return made


def scans(files: Files) -> Iterator[str]:
    """How many have to pass the first stage, and what a scan takes; by a quarter of the people."""
    faiss.omp_set_num_threads(1)
    learnt = frame(files.rows[:100_000].astype(np.float32), 192)
    quarter = range(0, files.people, 4 * AT_ONCE)
    blocks = (files.rows[start : start + AT_ONCE].astype(np.float32) for start in quarter)
    encoded = [(codes_of(rows), codes_of(rows @ learnt)) for rows in blocks]
    tables = [np.concatenate(parts) for parts in zip(*encoded, strict=True)]
    probes = files.probes[MEASURED]
    best = files.rows[files.best[MEASURED, :10].ravel()].astype(np.float32)
    asked = [codes_of(probes), codes_of(probes @ learnt)]
    exact = [codes_of(best), codes_of(best @ learnt)]
    codes = {"all 512 signs": (0, 64)}
    for n, name in enumerate(("the first", "learnt")):
        codes |= {f"{name} {bits} signs": (n, bits // 8) for bits in (128, 192)}

    yield "| as near as the nearest person is, of all | at most, of 99% of probes | of 99.9% |"
    yield "|---|---:|---:|"
    for name, (n, size) in codes.items():
        part = np.ascontiguousarray(tables[n][:, :size]).view(np.uint64)
        shares = []
        for probe, near in zip(asked[n], exact[n].reshape(len(probes), 10, -1), strict=True):
            counts = np.zeros(8 * size + 1, np.int64)
            _histogram(part, probe[:size].copy().view(np.uint64), 1, counts)
            distance = int(np.unpackbits(near[0, :size] ^ probe[:size]).sum())
            shares.append(counts[: distance + 1].sum() / len(part))
        few, fewer = np.quantile(shares, (0.99, 0.999))
        yield f"| by {name} | {few:.4%} | {fewer:.4%} |"

    yield ""
    yield "| scan, one thread | first reads | median ms | CPU, ms |"
    yield "|---|---:|---:|---:|"
    whole = np.tile(tables[0], (4, 1))[: files.people]

    def line(name: str, size: int, scan: Callable[[int], Any]) -> str:
        scan(0)
        times, busy = [], []
        for n in range(1, 41):
            start, cpu = time.perf_counter(), time.thread_time()
            scan(n)
            times.append((time.perf_counter() - start) * 1000)
            busy.append((time.thread_time() - cpu) * 1000)
        return f"| {name} | {size} B | {np.median(times):.0f} | {np.median(busy):.0f} |"

    def by_faiss(n: int) -> Any:
        return faiss.knn_hamming(asked[0][n : n + 1], whole, 1000)

    yield line("all 512 signs (faiss)", 64, by_faiss)
    for n, name in enumerate(("the first", "learnt")):
        short = np.tile(np.ascontiguousarray(tables[n][:, :16]), (4, 1))[: files.people]
        for share in (0.01, 0.02, 0.04):
            two = TwoStages(short, whole, share)

            def by_two(probe: int, two: TwoStages = two, n: int = n) -> Any:
                return two(asked[n][probe, :16].copy(), asked[0][probe].copy())

            yield line(f"{name} 128 signs, then {share:.0%} by all", 16, by_two)


def cells(files: Files) -> Iterator[str]:
    """IVF: how much of the gallery a search has to scan."""
    # Spread over the file, in pieces that a disk reads at once.
    starts = range(0, files.people, max(512, files.people // 200))
    sample = np.concatenate([files.rows[s : s + 512] for s in starts]).astype(np.float32)
    count = 1024
    yield "| IVF, cells | scanned for recall@1 of 0.99 | 0.999 | for recall@10 of 0.99 | 0.999 |"
    yield "|---:|---:|---:|---:|---:|"
    means = faiss.Kmeans(DIMENSION, count, niter=6, spherical=True, seed=1)
    means.train(sample)
    centroids: Rows = np.asarray(means.centroids)
    sizes = np.bincount((sample @ centroids.T).argmax(axis=1), minlength=count)
    order = np.argsort(-(files.probes[MEASURED] @ centroids.T), axis=1)
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(count)[None].repeat(len(order), axis=0), axis=1)
    shares = (sizes / len(sample))[order].cumsum(axis=1)
    of = files.rows[files.best[MEASURED, :10].ravel()].astype(np.float32) @ centroids.T
    place = np.take_along_axis(places, of.argmax(axis=1).reshape(-1, 10), axis=1)
    share = np.take_along_axis(shares, place, axis=1)
    quantiles = [np.quantile(s, q) for s in (share[:, 0], share) for q in (0.99, 0.999)]
    yield f"| {count} | " + " | ".join(f"{q:.1%}" for q in quantiles) + " |"


# --- reading vectors -----------------------------------------------------------------------------


def reads(files: Files) -> Iterator[str]:
    """A thousand vectors, at random, from the file."""
    rng, size = np.random.default_rng(0), files.people * 2 * DIMENSION
    with files.path.open("rb") as file, ThreadPoolExecutor(16) as pool:
        descriptor = file.fileno()
        maps = [mmap.mmap(descriptor, size, prot=mmap.PROT_READ) for _ in range(2)]
        maps[1].madvise(mmap.MADV_RANDOM)
        plain, scattered = (
            np.frombuffer(m, np.float16).reshape(files.people, DIMENSION) for m in maps
        )

        def pages(slots: NDArray[Any]) -> Iterator[int]:
            yield from np.unique(slots * 2 * DIMENSION // mmap.PAGESIZE * mmap.PAGESIZE).tolist()

        def announced(slots: NDArray[Any]) -> Any:
            for page in pages(slots):
                maps[1].madvise(mmap.MADV_WILLNEED, page, min(mmap.PAGESIZE, size - page))
            return scattered[slots]

        def by_pread(slots: NDArray[Any]) -> Any:
            rows = np.empty((len(slots), DIMENSION), np.float16)
            for n, slot in enumerate(slots.tolist()):
                os.preadv(descriptor, [rows[n]], slot * 2 * DIMENSION)
            return rows

        def by_threads(slots: NDArray[Any]) -> Any:
            return np.concatenate(list(pool.map(by_pread, np.array_split(slots, 16))))

        ways: dict[str, Callable[[NDArray[Any]], Any]] = {
            "mapped": lambda slots: plain[slots],
            "mapped, MADV_RANDOM": lambda slots: scattered[slots],
            "mapped, MADV_RANDOM, and MADV_WILLNEED for each": announced,
            "pread, in their order": by_pread,
            "pread in 16 threads": by_threads,
        }
        yield "| 1,000 vectors | cold, median ms | in the page cache |"
        yield "|---|---:|---:|"
        for name, read in ways.items():
            cold, warm = list[float](), list[float]()
            for _ in range(5):
                slots = np.sort(rng.integers(0, files.people, 1000))
                for mapped in maps:
                    mapped.madvise(mmap.MADV_DONTNEED)
                for page in pages(slots):  # and what was read ahead around it
                    os.posix_fadvise(descriptor, page >> 17 << 17, 2**18, os.POSIX_FADV_DONTNEED)
                for times in (cold, warm):
                    start = time.perf_counter()
                    read(slots)
                    times.append((time.perf_counter() - start) * 1000)
            yield f"| {name} | {np.median(cold):.0f} | {np.median(warm):.1f} |"


# --- the gallery itself --------------------------------------------------------------------------


def memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def held(files: Files, people: int, vectors: str, folder: Path) -> dict[str, float]:
    """The first people of the file in a matcher's memory, named as in `tests.bench.gallery`."""
    faiss.omp_set_num_threads(1)
    before = {field: memory(field) for field in ("RssAnon", "RssFile")}
    disk = Disk(folder, 2**40) if vectors == "disk" else None
    matcher, start = People(DIMENSION, disk), time.perf_counter()
    matcher.reserve(people)
    for first in range(0, people, AT_ONCE):
        ids = np.arange(first, min(first + AT_ONCE, people))
        times = np.full(len(ids), 1.7e9)
        matcher.apply(
            Segment.of_people(
                Kind.PUT,
                ids,
                np.ones(len(ids), np.int32),
                files.rows[ids[0] : ids[-1] + 1],
                created=times,
                updated=times,
                details=[{"name": f"Person {n}"} for n in ids.tolist()],
            )
        )
    seconds = time.perf_counter() - start
    snapshot = matcher.snapshot(1)
    files.rows._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
    figures = {"seconds": seconds, "counted": snapshot.nbytes / people}
    figures |= {field: (memory(field) - b) / people for field, b in before.items()}
    took, busy, same = [], [], []
    for n in np.r_[0:10, MEASURED]:
        start, cpu = time.perf_counter(), time.thread_time()
        hits = snapshot.search(files.probes[n : n + 1], 1)
        took.append((time.perf_counter() - start) * 1000)
        busy.append((time.thread_time() - cpu) * 1000)
        if people == files.people:
            exact = files.rows[files.best[n, 0]].astype(np.float32) @ files.probes[n]
            same.append(hits.similarities[0, 0] >= exact - 1e-4)
    figures |= {
        "cpu_ms": float(np.median(busy[10:])),
        "median_ms": float(np.median(took[10:])),
        "last_ms": float(np.quantile(took[10:], 0.99)),
    }
    return figures | {"recall": float(np.mean(same)) if same else float("nan")}


def held_lines(folder: Path, people: int) -> Iterator[str]:
    yield (
        "| people | vectors | bytes a person that stay in memory | as the matcher counts | "
        "mapped | "
        "search, median ms | 99% | CPU, median ms | same as exact search |"
    )
    yield "|---:|---|---:|---:|---:|---:|---:|---:|---:|"
    for count in sorted({min(1_000_000, people), people}):
        for vectors in ("memory", "disk"):
            if vectors == "memory" and count > 2_000_000:
                continue
            words = [
                sys.executable,
                "-m",
                "tests.bench.gallery_size",
                str(folder),
                "--held",
                vectors,
            ]
            words += ["--people", str(people), "--first", str(count)]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
            f = json.loads(done.stdout)
            yield (
                f"| {count:,} | {vectors} | {f['RssAnon']:.0f} | {f['counted']:.0f} | "
                f"{f['RssFile']:.0f} | {f['median_ms']:.1f} | {f['last_ms']:.1f} | "
                f"{f['cpu_ms']:.1f} | {f['recall']:.4f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=10_000_000)
    parser.add_argument("--only", choices=("scans", "cells", "reads", "held"))
    parser.add_argument("--held", choices=("memory", "disk"), help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if not (args.folder / "exact.npz").exists():
        make(args.folder, args.people)
    files = Files(args.folder, args.people)
    if args.held:
        print(json.dumps(held(files, args.first, args.held, args.folder)))
        return
    print(machine("faiss-cpu", "numba"))
    tables: dict[str, Callable[[], Iterator[str]]] = {
        "scans": lambda: scans(files),
        "cells": lambda: cells(files),
        "reads": lambda: reads(files),
        "held": lambda: held_lines(args.folder, args.people),
    }
    for name, lines in tables.items():
        if args.only in (None, name):
            print()
            for line in lines():
                print(line, flush=True)


if __name__ == "__main__":
    main()
