"""Open-set identification (1:N): some people are enrolled, photos of all people are looked up.

The people are divided repeatedly into known and unknown. Known people are enrolled with some of
their photos, and their other photos are looked up, as is every photo of the unknown people. As in
the service, the gallery holds one centroid per person; distractors are added to it if given.

- identification rate at a threshold: of the lookups of known people, the share whose best candidate
  is the person and reaches the threshold (true-positive identification rate).
- FPIR: of the lookups of unknown people, the share that gets a name.
- DIR at an FPIR: the identification rate at the threshold with that FPIR on these people.
- rank-1: of the lookups of known people, the share whose best candidate is the person.

A photo without a face is a lookup without a candidate; enrolled, it adds nothing. The terms are
those of ISO/IEC 19795-1 and NIST's FRTE 1:N.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.estimates import Estimate, at_rate, estimate, estimates
from serving.evaluation.lookups import ALL_BUT_ONE, Trial, joined
from serving.evaluation.metrics import (
    Bin,
    Floats,
    Roc,
    Scores,
    calibration_error,
    reliability,
    share,
)

FPIRS = (0.1, 0.01, 0.001)

Draws = NDArray[np.int64]
Threshold = Callable[[int], float]  # of the gallery's size
ConfidenceOf = Callable[[float, int], float]  # of a cosine, and the gallery's size


@dataclass(frozen=True)
class Identification:
    """The error rates of one `Trial`; see `identify`."""

    enrolled: str
    gallery: int  # people, on average, distractors included
    known_people: int
    known_lookups: int  # of all splits
    unknown_photos: int  # different ones
    rank1: Estimate
    dir_at_fpir: dict[float, Estimate]
    threshold: float  # the current one, in a gallery of that size
    fpir: Estimate
    identification_rate: Estimate


@dataclass(frozen=True)
class Reliability:
    """The calibration of the best candidate's confidence, if half of the lookups are of known
    people."""

    lookups: int
    calibration_error: Estimate
    reliability: list[Bin]


def identify(trial: Trial, threshold: Threshold, draws: Draws) -> tuple[Identification, Roc]:
    """Measure the error rates with intervals, and the curve of DIR over FPIR.

    The galleries are the same in every replicate; drawn is whose lookups count.
    """
    known, unknown = trial.known, trial.unknown
    hits = np.where(known.right, known.best, -np.inf)
    scores = Scores(hits, unknown.best)
    named = hits >= _each(threshold, known.people)
    mistaken = unknown.best >= _each(threshold, unknown.people)

    def rates(drawn: Draws) -> Iterator[float]:
        genuine, impostor = drawn[known.person], drawn[unknown.person]
        if not genuine.sum() or not impostor.sum():
            return iter([math.nan] * (3 + len(FPIRS)))
        roc = scores.roc(genuine, impostor)
        return iter(
            [
                share(known.right, genuine),
                share(mistaken, impostor),
                share(named, genuine),
                *(roc.tar_at(fpir) for fpir in FPIRS),
            ]
        )

    rank1, fpir, rate, *at = estimates(rates, draws, [None] * (3 + len(FPIRS)))
    photos = len(np.unique(unknown.photo))
    gallery = round(float(known.people.mean()))
    measured = Identification(
        enrolled="all but one" if trial.enrolled == ALL_BUT_ONE else str(trial.enrolled),
        gallery=gallery,
        known_people=len(np.unique(known.person)),
        known_lookups=len(known),
        unknown_photos=photos,
        rank1=rank1,
        dir_at_fpir={
            limit: at_rate(each, limit, photos) for limit, each in zip(FPIRS, at, strict=True)
        },
        threshold=threshold(gallery),
        fpir=fpir,
        identification_rate=rate,
    )
    return measured, scores.roc()


def confidence_of(tried: list[Trial], confidence: ConfidenceOf, draws: Draws) -> Reliability:
    """The calibration of the confidence, over lookups with one or all but one photo enrolled."""
    some = [t for t in tried if t.enrolled in (1, ALL_BUT_ONE)]
    parts = [lookups for t in some for lookups in (t.known, t.unknown)]
    every = joined(parts)
    known = np.concatenate([np.full(len(p), n % 2 == 0) for n, p in enumerate(parts)])
    seen = np.isfinite(every.best)
    sure = np.array(
        [
            confidence(c, n)
            for c, n in zip(every.best[seen].tolist(), every.people[seen].tolist(), strict=True)
        ]
    )

    def bins(drawn: Draws) -> list[Bin]:
        weights = drawn[every.person].astype(np.float64)
        for half in (known, ~known):
            weights[half] /= max(weights[half].sum(), 1)
        return reliability(sure, every.right[seen], weights[seen])

    return Reliability(
        lookups=int(seen.sum()),
        calibration_error=estimate(lambda drawn: calibration_error(bins(drawn)), draws),
        reliability=bins(np.ones(draws.shape[1], np.int64)),
    )


def _each(threshold: Threshold, people: NDArray[np.int64]) -> Floats:
    sizes, place = np.unique(people, return_inverse=True)
    thresholds: Floats = np.array([threshold(int(size)) for size in sizes], np.float64)[place]
    return thresholds
