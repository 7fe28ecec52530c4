"""Verification (1:1): pairs of photos, of one person or of two."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.estimates import Estimate, at_rate, estimate, estimates
from serving.evaluation.metrics import (
    Bin,
    Floats,
    Roc,
    Scores,
    calibration_error,
    reliability,
    row_products,
    share,
)
from serving.evaluation.sample import Sample
from serving.model.card import ModelCard

FARS = (0.01, 0.001, 0.0001)
# More pairs would cost memory and time, and not improve the estimates.
_MOST_PAIRS = 1_000_000
_FOLDS, _REPEATS = 10, 10

Weights = NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Some or all pairs of photos.

    Attributes:
        genuine, impostor: intp (G, 2) and (I, 2), places of photos: one person, two people.
        impostors: the number of all pairs of strangers.
        genuine_scores, impostor_scores: their cosines; -inf where a photo has no face, or one that
            is too poor to say.
    """

    genuine: NDArray[np.intp]
    impostor: NDArray[np.intp]
    impostors: int
    genuine_scores: Floats
    impostor_scores: Floats


@dataclass(frozen=True)
class Verification:
    """The error rates over pairs; see `verify`.

    Attributes:
        far, tar: at the threshold, of all pairs: photos that are not processed are never accepted
            (the generalised rates of ISO/IEC 19795-1).
        fmr, fnmr: false match and false non-match rate there, of the pairs that were compared.
        not_compared: the shares of pairs with a photo that is not processed, of one person and of
            strangers.
    """

    genuine_pairs: int
    impostor_pairs: int
    accuracy: Estimate
    chosen_threshold: float | None  # the mean of those that were chosen for the accuracy
    eer: Estimate
    tar_at_far: dict[float, Estimate]
    threshold: float  # the card's, for pairs
    far: Estimate
    tar: Estimate
    fmr: Estimate
    fnmr: Estimate
    not_compared: tuple[float, float]
    calibration_error: Estimate
    reliability: list[Bin]


def pairs_of(sample: Sample, rng: np.random.Generator, most: int = _MOST_PAIRS) -> Pairs:
    """All pairs of photos, or ``most`` of each kind, drawn at random."""
    n, person = len(sample.person), sample.person
    counts = np.bincount(person)
    starts = np.append(0, np.cumsum(counts))
    own = [
        np.stack(np.triu_indices(count, 1), axis=1) + start
        for start, count in zip(starts, counts, strict=False)
    ]
    genuine = np.concatenate(own)
    if len(genuine) > most:
        genuine = genuine[rng.choice(len(genuine), most, replace=False)]
    impostors = n * (n - 1) // 2 - sum(map(len, own))
    if impostors <= most:
        upper = np.stack(np.triu_indices(n, 1), axis=1)
        impostor = upper[person[upper[:, 0]] != person[upper[:, 1]]]
    else:
        drawn = np.sort(rng.integers(0, n, (2 * most, 2)), axis=1)
        drawn = np.unique(drawn[person[drawn[:, 0]] != person[drawn[:, 1]]], axis=0)
        impostor = rng.permutation(drawn)[:most]
    return Pairs(
        genuine, impostor, impostors, _cosines(sample, genuine), _cosines(sample, impostor)
    )


def verify(
    sample: Sample, pairs: Pairs, card: ModelCard, draws: Weights, rng: np.random.Generator
) -> tuple[Verification, Roc]:
    """Measure the error rates with intervals, and the curve over all pairs."""
    scores = Scores(pairs.genuine_scores, pairs.impostor_scores)
    own, strangers = sample.person[pairs.genuine], sample.person[pairs.impostor]
    threshold, curve = card.pairs.threshold, card.pairs.calibration

    def weights(drawn: Weights) -> tuple[Weights, Weights]:
        return drawn[own[:, 0]], drawn[strangers].prod(axis=1)

    def rates(drawn: Weights) -> Iterator[float]:
        genuine, impostor = weights(drawn)
        if not genuine.sum() or not impostor.sum():
            return iter([math.nan] * (5 + len(FARS)))
        roc = scores.roc(genuine, impostor)
        accepted, missed = pairs.impostor_scores >= threshold, pairs.genuine_scores < threshold
        return iter(
            [
                roc.eer(),
                share(pairs.impostor_scores >= threshold, impostor),
                share(pairs.genuine_scores >= threshold, genuine),
                share(accepted, impostor * np.isfinite(pairs.impostor_scores)),
                share(missed, genuine * np.isfinite(pairs.genuine_scores)),
                *(roc.tar_at(far) for far in FARS),
            ]
        )

    notes = [None] * (5 + len(FARS))
    compared = np.isfinite(pairs.genuine_scores), np.isfinite(pairs.impostor_scores)
    paired, all_, fair, fairly_paired = (
        len(np.unique(of)) for of in (own, strangers, strangers[compared[1]], own[compared[0]])
    )
    about = [paired, all_, paired, fair, fairly_paired, *[paired] * len(FARS)]
    eer, far, tar, fmr, fnmr, *at = estimates(rates, draws, notes, about)
    both = np.concatenate([pairs.genuine_scores, pairs.impostor_scores])
    same = np.repeat([True, False], [len(own), len(strangers)])
    seen = np.isfinite(both)
    confidence = np.array([curve.probability(float(s)) for s in both[seen]])

    def bins(drawn: Weights) -> list[Bin]:
        # Half of the pairs are of one person, as the card's calibration assumes.
        parts = [w / max(w.sum(), 1) for w in weights(drawn)]
        return reliability(confidence, same[seen], np.concatenate(parts)[seen])

    accuracy, chosen = _cross_validated(sample, pairs, draws, rng)
    measured = Verification(
        genuine_pairs=len(pairs.genuine),
        impostor_pairs=pairs.impostors,
        accuracy=accuracy,
        chosen_threshold=chosen,
        eer=eer,
        tar_at_far={
            rate: at_rate(each, rate, len(strangers)) for rate, each in zip(FARS, at, strict=True)
        },
        threshold=threshold,
        far=far,
        tar=tar,
        fmr=fmr,
        fnmr=fnmr,
        not_compared=(
            float(np.isinf(pairs.genuine_scores).mean()),
            float(np.isinf(pairs.impostor_scores).mean()),
        ),
        calibration_error=estimate(lambda d: calibration_error(bins(d)), draws),
        reliability=bins(np.ones(len(sample.ids), np.int64)),
    )
    return measured, scores.roc()


def _cross_validated(
    sample: Sample, pairs: Pairs, draws: Weights, rng: np.random.Generator
) -> tuple[Estimate, float | None]:
    """The accuracy where half of the pairs are of one person, and the mean threshold.

    People are divided into folds; the threshold is the best one for the pairs among the people of
    all other folds, and is tried on the pairs within the fold, so no person influences the
    threshold that is applied to them. Repeated with other folds, since a fold holds few pairs.
    """
    people = len(sample.ids)
    folds = min(_FOLDS, people // 2)
    if folds < 2:
        return Estimate(None, note="too few people: 4 are needed"), None
    own, strangers = sample.person[pairs.genuine], sample.person[pairs.impostor]
    scores = pairs.genuine_scores, pairs.impostor_scores
    # How often each pair was tried, and how often it was classified correctly.
    tried = [np.zeros(len(own)), np.zeros(len(strangers))]
    right = [np.zeros(len(own)), np.zeros(len(strangers))]
    thresholds = []
    for _ in range(_REPEATS):
        fold = rng.permutation(np.arange(people) % folds)
        for held_out in range(folds):
            out = fold == held_out
            train = [
                cosines[(~out[p]).all(axis=1) & np.isfinite(cosines)]
                for p, cosines in zip((own, strangers), scores, strict=True)
            ]
            test = [out[p].all(axis=1) for p in (own, strangers)]
            if not all(map(len, train)):
                continue
            threshold = _best_threshold(*train)
            thresholds.append(threshold)
            for n, cosines in enumerate(scores):
                tried[n] += test[n]
                right[n] += test[n] & ((cosines >= threshold) == (n == 0))
    if not thresholds:
        return Estimate(None, note="too few people with two photos"), None

    def accuracy(drawn: Weights) -> float:
        weights = drawn[own[:, 0]], drawn[strangers].prod(axis=1)
        totals = [(w * t).sum() for w, t in zip(weights, tried, strict=True)]
        if not all(totals):
            return math.nan
        hits = [(w * r).sum() for w, r in zip(weights, right, strict=True)]
        return float(sum(h / t for h, t in zip(hits, totals, strict=True)) / 2)

    return estimate(accuracy, draws), float(np.mean(thresholds))


def _best_threshold(genuine: Floats, impostor: Floats) -> float:
    """The threshold with the best accuracy, both kinds of pairs weighted the same: half-way between
    two scores."""
    roc = Scores(genuine, impostor).roc()
    best = int((roc.tar - roc.far).argmax())
    below = roc.thresholds[min(best + 1, len(roc.thresholds) - 1)]
    return float(roc.thresholds[best] + below) / 2


def _cosines(sample: Sample, pairs: NDArray[np.intp]) -> Floats:
    products = row_products(sample.vectors, sample.vectors, pairs)
    return np.where(sample.answerable[pairs].all(axis=1), products, -np.inf)
