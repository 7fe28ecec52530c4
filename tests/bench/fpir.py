"""Measures whether the FPIR stays at its target while the gallery grows. Prints tables.

    python -m tests.bench.fpir                 # `make bench-fpir`
    python -m tests.bench.fpir --photos DIR    # and photos of real people, as probes

Synthetic people are distributed roughly as real embeddings (`data/make_gallery.py`). The threshold
is fitted to a folder of them, as `faces calibrate` does; other people, who are not enrolled, are
then looked up in galleries.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.comparisons import compare
from serving.evaluation.sample import Sample, sample_of
from serving.evaluation.tail import fit
from serving.gallery.segment import normalised
from serving.model.impostors import Impostors
from serving.operations.folders import people_in
from serving.operations.offline import Cropper, LocalModel, embed_photos
from serving.settings import AppArgs
from tests.bench.gallery import face_space

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
FPIR = 0.01
PROBES = 4000
FOLDERS = ((17, 40), (50, 20), (200, 10))  # people, and how many such folders
PHOTOS = 5  # a person
AT_ONCE = 50_000
SEED = 1

Rows = NDArray[np.float32]
Rule = Callable[[int], float]  # the gallery's size -> the threshold


def photos_of(people: Rows, count: int, space: Rows, rng: np.random.Generator) -> Rows:
    """``count`` photos of each person, of varying quality: see `data/make_gallery.py`."""
    rows = people.repeat(count, axis=0)
    spread = 0.36 * np.exp(0.8 * rng.standard_normal((len(rows), 1), np.float32))
    own = rng.standard_normal(rows.shape, np.float32)
    return normalised((rows + np.sqrt(spread) * own) @ space)


def folder(people: int, space: Rows, rng: np.random.Generator) -> Sample:
    rows = photos_of(rng.standard_normal((people, 512), np.float32), PHOTOS, space, rng)
    person = np.arange(people).repeat(PHOTOS)
    nothing: list[str | None] = [None] * len(rows)
    return Sample(np.arange(people), person, [Path()] * len(rows), rows, nothing)


def highest(probes: Rows, space: Rows, rng: np.random.Generator) -> Iterator[tuple[int, Rows]]:
    """The cosine of each probe with the nearest person of a gallery, for each gallery size."""
    best, done = np.full(len(probes), -1, np.float32), 0
    for size in SIZES:
        while done < size:
            count = min(AT_ONCE, size - done)
            people = rng.standard_normal((count, 512), np.float32)
            best = np.maximum(best, (probes @ photos_of(people, 1, space, rng).T).max(axis=1))
            done += count
        yield size, best


def rules_of(sample: Sample, rng: np.random.Generator) -> dict[str, Rule]:
    """The service's rule for the threshold, and alternatives."""
    strangers = compare(sample, rng).strangers
    found = fit(strangers, len(sample.ids), (1000, FPIR), "synthetic people", rng)
    cosines = strangers.cosines
    normal = NormalDist(cosines.mean(), cosines.std())
    border = float(np.quantile(cosines, 0.95))
    scale = float((cosines[cosines > border] - border).mean())

    def one_of(people: int) -> float:
        return float(1 - (1 - FPIR) ** (1 / people))

    return {
        "auto": lambda n: found.expected.threshold(n, FPIR),
        "auto, the likeliest fit": lambda n: found.likeliest.threshold(n, FPIR),
        "normal tail": lambda n: normal.inv_cdf(1 - one_of(n)),
        "exponential tail": lambda n: border + scale * np.log(0.05 / one_of(n)),
        "fixed, as for 1,000": lambda n: found.expected.threshold(1000, FPIR),
    }


def line(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def header(*cells: object) -> None:
    line(*cells)
    print("|---" + "|---:" * (len(cells) - 1) + "|")


def synthetic(found: dict[int, Rows], space: Rows, rng: np.random.Generator) -> None:
    header("calibrated on", "rule", *(f"{size:,}" for size in SIZES))
    for people, repeats in FOLDERS:
        rates: dict[str, list[list[float]]] = {}
        for _ in range(repeats):
            for name, rule in rules_of(folder(people, space, rng), rng).items():
                measured = [float((best >= rule(size)).mean()) for size, best in found.items()]
                rates.setdefault(name, []).append(measured)
        for name, rows in rates.items():
            means = np.mean(rows, axis=0)
            worst = np.quantile(rows, 0.9, axis=0)
            cells = [f"{m:.2%} ({w:.2%})" for m, w in zip(means, worst, strict=True)]
            line(f"{people} people, {repeats} times", name, *cells)


def real(found: dict[int, Rows], card: Impostors) -> None:
    header("people in the gallery", "threshold", "named", "nearest stranger: median", "99%", "max")
    for size, best in found.items():
        threshold = card.threshold(size, FPIR)
        quantiles = (f"{q:.3f}" for q in np.quantile(best, (0.5, 0.99, 1)))
        named = int((best >= threshold).sum())
        line(f"{size:,}", f"{threshold:.3f}", f"{named} of {len(best)}", *quantiles)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folders of photos of people, named by the id")
    parser.add_argument("--repository", type=Path, default=Path("triton/models"))
    parser.add_argument("--model", default="facenet-casia-webface")
    args = parser.parse_args()
    rng = np.random.default_rng(SEED)
    space = face_space()
    strangers = rng.standard_normal((PROBES, 512), np.float32)
    probes = photos_of(strangers, 1, space, rng)
    local = LocalModel(args.repository, args.model)
    if args.photos:
        people = {p.id: p.photos for p in people_in(args.photos).people}
        photos = [photo for own in people.values() for photo in own]
        sample = sample_of(people, embed_photos(photos, Cropper(AppArgs(), local.card), local))
        probes = np.concatenate([probes, sample.vectors[sample.usable]])
    found = {size: best.copy() for size, best in highest(probes, space, rng)}
    print(f"FPIR, target {FPIR:.0%}; in brackets what one folder in ten exceeds.\n")
    synthetic({size: best[:PROBES] for size, best in found.items()}, space, rng)
    if args.photos:
        assert local.card.impostors is not None
        count = len(probes) - PROBES
        print(f"\n{count} photos of {len(sample.ids)} real people, threshold of the card.\n")
        real({size: best[PROBES:] for size, best in found.items()}, local.card.impostors)


if __name__ == "__main__":
    main()
