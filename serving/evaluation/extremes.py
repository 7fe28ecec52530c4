"""What happens in larger galleries: an extreme-value estimate of the best stranger's cosine.

A lookup of an unknown person names somebody when the largest of its cosines with all N enrolled
people reaches the threshold. Here the tail of such maxima is fitted, over blocks of b people
(*peaks over threshold*): above a high border the excess follows a generalised Pareto distribution
(Balkema, de Haan, "Residual life time at great age", Annals of Probability 2, 1974; Pickands,
"Statistical inference using extreme order statistics", Annals of Statistics 3, 1975), fitted by
probability-weighted moments (Hosking, Wallis, "Parameter and quantile estimation for the
generalized Pareto distribution", Technometrics 29, 1987: better than maximum likelihood below some
500 excesses).
From b people to N:

    FPIR(N, t) = 1 - (1 - S_b(t))^(N / b),   S_b(t) = P(the best of b strangers >= t).

There are two fits, which on average bracket what to expect. The *free* one lets the photos say
where the tail ends. A cosine's tail ends at 1, but at borders that photos reach it bends as if it
ended far below, so this one is too low far from the data. In the *cautious* one the end is 1: the
survival is a power of 1 - t, which falls off too slowly, so this one is too high there. With the
Beta distribution that the service's threshold assumes for single cosines
(`serving.model.impostors`) the truth lies between the two (test_extremes.py).

Blocks are as large as the number of photos allows: what strangers share with the photo that is
looked up is then in the data. N people are taken for N / b independent blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.estimates import TAIL, Estimate
from serving.evaluation.lookups import centroid_of
from serving.evaluation.metrics import Floats
from serving.evaluation.sample import Sample

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
_MOST_PROBES, _MOST_PEOPLE = 2_000, 20_000
_MAXIMA = 400  # at least so many, if the photos allow: then blocks become smaller
_EXCESSES = 50
_FEWEST = 40  # maxima
_REPLICATES = 200
_DRAWS = 10  # subsampled galleries of a size

Threshold = Callable[[int], float]  # of the gallery's size
Model = Callable[[int, float], float]  # of the gallery's size and the FPIR


@dataclass(frozen=True)
class Strangers:
    """Cosines of photos with other people's centroids.

    Attributes:
        cosines: float32 (n, G); -inf: the person's own.
        person: intp (n,), the person on the photo.
    """

    cosines: NDArray[np.float32]
    person: NDArray[np.intp]


@dataclass(frozen=True)
class Tail:
    """The distribution of the best of ``block`` strangers.

    Attributes:
        border: above it the excess is a generalised Pareto variable of ``shape`` and ``scale``.
        share: the weight of the maxima above it.
        below: all maxima, ascending, and ``survival`` the share of those at or above each: for
            what is not in the tail.
    """

    block: int
    border: float
    share: float
    shape: float
    scale: float
    below: Floats
    survival: Floats

    def fpir(self, threshold: float, people: int) -> float:
        """The share of unknown people for whom somebody reaches the threshold."""
        if threshold > self.border:
            excess = threshold - self.border
            reached = self.share * self._above(excess)
        else:
            place = int(np.searchsorted(self.below, threshold, side="left"))
            reached = float(self.survival[place])
        if reached >= 1:
            return 1.0
        return -math.expm1(people / self.block * math.log1p(-reached))

    def threshold(self, people: int, fpir: float) -> float:
        """The lowest cosine whose FPIR among so many people is at most ``fpir``."""
        reached = -math.expm1(math.log1p(-fpir) * self.block / people)
        if reached < self.share:
            return min(1.0, self.border + self._excess(reached / self.share))
        within = np.flatnonzero(self.survival <= reached)
        return float(self.below[within[0]]) if len(within) else self.border

    # The two functions of scipy.stats.genpareto, which take a hundred times as long for one number.
    def _above(self, excess: float) -> float:
        """The share of the tail that exceeds the border by more."""
        if abs(self.shape) < 1e-9:
            return math.exp(-excess / self.scale)
        base = 1 + self.shape * excess / self.scale
        return 0.0 if base <= 0 else float(base ** (-1 / self.shape))

    def _excess(self, share: float) -> float:
        """The excess that this share of the tail has, for shares in (0, 1]."""
        if abs(self.shape) < 1e-9:
            return -self.scale * math.log(share)
        return self.scale * math.expm1(-self.shape * math.log(share)) / self.shape


@dataclass(frozen=True)
class Size:
    """What to expect among ``people``, by both models.

    Attributes:
        threshold: the service's.
        fpir, fpir_cautious: at it, by the two fits.
        wanted_threshold, wanted_threshold_cautious: of these, for the wanted FPIR.
        fnir: the share of lookups of enrolled people whose own cosine is below the service's
            threshold, by the photos enrolled.
        fnir_at_wanted: the same at the cautious threshold.
        extrapolated: how many times more people than the largest gallery that was measured.
    """

    people: int
    threshold: float
    fpir: Estimate
    fpir_cautious: Estimate
    wanted_threshold: Estimate
    wanted_threshold_cautious: Estimate
    fnir: dict[str, float]
    fnir_at_wanted: dict[str, float]
    extrapolated: float


@dataclass(frozen=True)
class Check:
    """A fit to subsampled galleries of ``fitted_on`` people, tried on all ``people``.

    Attributes:
        wanted: the FPIR whose threshold was predicted.
        threshold, threshold_cautious: by the two fits, on average over the subsamples.
        observed, observed_cautious: the FPIR there.
        observed_by_service: that at the threshold that the model's card predicts; None: it has no
            measurement of strangers.
    """

    fitted_on: int
    people: int
    wanted: float
    threshold: float
    observed: float
    threshold_cautious: float
    observed_cautious: float
    threshold_of_service: float | None
    observed_by_service: float | None


@dataclass(frozen=True)
class Growth:
    """The fit, what it predicts, and how it did on subsampled galleries."""

    fpir: float  # the wanted one
    maxima: int
    block: int
    people: int  # of whom a photo was compared with all others
    shape: Estimate | None
    scale: float | None
    border: float | None
    sizes: list[Size]
    checks: list[Check]
    note: str | None = None


def strangers_of(
    sample: Sample, distractors: NDArray[np.floating[Any]], rng: np.random.Generator
) -> Strangers:
    """The cosines of photos that are answered with the centroids of all others who are enrolled."""
    probes = np.flatnonzero(sample.answerable)
    if len(probes) > _MOST_PROBES:
        probes = np.sort(rng.choice(probes, _MOST_PROBES, replace=False))
    enrolled = np.where(sample.enrollable[:, None], sample.vectors, np.float32(0))
    centroids = np.stack(
        [centroid_of(enrolled[sample.person == p]) for p in range(len(sample.ids))]
    )
    cosines = sample.vectors[probes] @ centroids.T
    cosines[np.arange(len(probes)), sample.person[probes]] = -np.inf
    cosines = cosines[:, centroids.any(axis=1)]
    others = distractors[: max(0, _MOST_PEOPLE - cosines.shape[1])].astype(np.float32)
    if len(others):
        cosines = np.concatenate([cosines, sample.vectors[probes] @ others.T], axis=1)
    return Strangers(cosines, sample.person[probes])


def growth(
    strangers: Strangers,
    genuine: dict[str, Floats],
    threshold: Threshold,
    model: Model | None,
    fpir: float,
    rng: np.random.Generator,
) -> Growth:
    """Fit and extrapolate.

    Args:
        genuine: the cosines of lookups with their own person's record, by the photos enrolled.
        threshold: the service's, for a gallery's size.
        model: the threshold that the card's model of strangers predicts; None: it has none.
    """
    people = strangers.cosines.shape[1] - 1
    best, person, block = _maxima(strangers, rng)
    if len(best) < _FEWEST or len(np.unique(person)) < 5:
        note = f"not estimated: {len(best)} best strangers, at least {_FEWEST} are needed"
        return Growth(fpir, len(best), block, people, None, None, None, [], [], note)
    ones, drawn = np.ones(len(best)), _weights(person, rng)
    free, cautious = (
        _Fits(fit(best, ones, block, end), [fit(best, w, block, end) for w in drawn])
        for end in (None, 1.0)
    )
    sizes = sorted({people, *(n for n in SIZES)})

    def size(n: int) -> Size:
        served, wanted = threshold(n), cautious.all.threshold(n, fpir)
        return Size(
            people=n,
            threshold=served,
            fpir=free.estimate(lambda tail: tail.fpir(served, n)),
            fpir_cautious=cautious.estimate(lambda tail: tail.fpir(served, n)),
            wanted_threshold=free.estimate(lambda tail: tail.threshold(n, fpir)),
            wanted_threshold_cautious=cautious.estimate(lambda tail: tail.threshold(n, fpir)),
            fnir={k: float((own < served).mean()) for k, own in genuine.items()},
            fnir_at_wanted={k: float((own < wanted).mean()) for k, own in genuine.items()},
            extrapolated=n / people,
        )

    return Growth(
        fpir=fpir,
        maxima=len(best),
        block=block,
        people=people,
        shape=free.estimate(lambda tail: tail.shape),
        scale=free.all.scale,
        border=free.all.border,
        sizes=[size(n) for n in sizes],
        checks=_checks(strangers, model, fpir, rng),
    )


@dataclass(frozen=True)
class _Fits:
    """The fit to all people, and those to bootstrap samples."""

    all: Tail
    drawn: Sequence[Tail]

    def estimate(self, of: Callable[[Tail], float]) -> Estimate:
        low, high = np.quantile([of(tail) for tail in self.drawn], (TAIL, 1 - TAIL)).tolist()
        return Estimate(of(self.all), low, high)


def fit(maxima: Floats, weights: Floats, block: int, end: float | None = None) -> Tail:
    """Fit the tail of weighted maxima (M,) of ``block`` strangers each.

    Args:
        end: of the tail; None: where the maxima put it.
    """
    order = np.argsort(maxima, kind="stable")
    values, weights = maxima[order].astype(np.float64), weights[order]
    total = weights.sum()
    above = np.cumsum(weights[::-1])[::-1] / total  # the share at or above each
    wanted = min(0.5, max(0.1, _EXCESSES / len(values)))
    start = max(1, int(np.searchsorted(-above, -wanted, side="left")))
    start = min(start, len(values) - 2)
    border = float(values[start - 1])
    excess, w = values[start:] - border, weights[start:]
    shape, scale = _moments(excess, w) if end is None else _to(end - border, excess, w)
    return Tail(block, border, float(above[start]), shape, scale, values, above)


def _moments(excess: Floats, weights: Floats) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution, by probability-weighted moments."""
    total = weights.sum()
    if not total:
        return 0.0, 1e-6
    # The plotting position of each, the middle of its own weight.
    position = (np.cumsum(weights) - weights / 2) / total
    first = float((weights * excess).sum() / total)
    second = float((weights * excess * (1 - position)).sum() / total)
    denominator = first - 2 * second
    if denominator <= 1e-12 or first <= 0:
        return 0.0, max(first, 1e-6)
    # Hosking and Wallis have the other sign of the shape.
    shape = float(np.clip(2 - first / denominator, -5, 0.9))
    return shape, max(2 * first * second / denominator, 1e-9)


def _to(end: float, excess: Floats, weights: Floats) -> tuple[float, float]:
    """The same of one whose tail ends at ``end``, by maximum likelihood."""
    left = -np.log1p(-np.minimum(excess / max(end, 1e-6), 1 - 1e-9))
    power = float(weights.sum() / max((weights * left).sum(), 1e-9))
    power = min(max(power, 1e-3), 1e6)
    return -1 / power, max(end, 1e-6) / power


def _maxima(strangers: Strangers, rng: np.random.Generator) -> tuple[Floats, NDArray[np.intp], int]:
    """The best cosine of each photo with each block of people, the person, and a block's size."""
    cosines, person = strangers.cosines, strangers.person
    photos, people = cosines.shape
    if not photos or people < 2:
        return np.empty(0), np.empty(0, np.intp), 1
    blocks = min(max(1, math.ceil(_MAXIMA / photos)), people - 1)
    # One of the blocks lacks the person on the photo, so that it is smaller by one.
    size = people // blocks
    columns = rng.permutation(people)[: size * blocks]
    best = cosines[:, columns].reshape(photos, blocks, size).max(axis=2)
    who = person.repeat(blocks)
    flat = best.ravel().astype(np.float64)
    seen = np.isfinite(flat)
    return flat[seen], who[seen], size


def _weights(person: NDArray[np.intp], rng: np.random.Generator) -> Sequence[Floats]:
    """Bootstrap over the people whose photos were looked up."""
    _, place = np.unique(person, return_inverse=True)
    people = int(place.max()) + 1
    drawn = rng.multinomial(people, np.full(people, 1 / people), size=_REPLICATES)
    return [weights for d in drawn if (weights := d[place].astype(np.float64)).sum() > 0]


def _checks(
    strangers: Strangers, model: Model | None, fpir: float, rng: np.random.Generator
) -> list[Check]:
    cosines = strangers.cosines
    photos, people = cosines.shape
    whole = cosines.max(axis=1)
    # Rates that so many photos show; the wanted one is mostly not among them.
    rates = [rate for rate in sorted({0.1, 0.03, fpir}, reverse=True) if rate * photos >= 3]
    results = []
    for part in (people // 4, people // 2):
        if part < 4:
            continue
        fits: list[tuple[Tail, Tail]] = []
        for _ in range(_DRAWS):
            columns = rng.choice(people, part, replace=False)
            some = Strangers(cosines[:, columns], strangers.person)
            best, _, block = _maxima(some, rng)
            if len(best) >= _FEWEST:
                ones = np.ones(len(best))
                fits.append((fit(best, ones, block), fit(best, ones, block, end=1.0)))
        for rate in rates if fits else ():
            predicted = np.array([[f.threshold(people - 1, rate) for f in both] for both in fits])
            observed = (whole[:, None, None] >= predicted).mean(axis=(0, 1)).tolist()
            served = None if model is None else model(people - 1, rate)
            results.append(
                Check(
                    fitted_on=part,
                    people=people - 1,
                    wanted=rate,
                    threshold=float(predicted[:, 0].mean()),
                    observed=observed[0],
                    threshold_cautious=float(predicted[:, 1].mean()),
                    observed_cautious=observed[1],
                    threshold_of_service=served,
                    observed_by_service=None if served is None else float((whole >= served).mean()),
                )
            )
    return results
