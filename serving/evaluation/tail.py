"""Fits the distribution of strangers' cosines; see `serving.model.impostors` for the model.

The mean is the sample's. The effective dimensions are fitted to the upper tenth of the cosines by
censored maximum likelihood: of the rest only the number counts. The tail decides, and a body of
another shape must not bend it.

With few people the tail is uncertain, and a threshold that is too low names many more strangers
than one that is too high by the same amount saves. So the fit is repeated on bootstrap samples of
people (see `serving.evaluation.estimates`), and the threshold in use is the one at which the mean
FPIR of these fits is the wanted one: the expected rate, uncertainty included. It is stricter than
that of the likeliest fit; the difference shrinks with more people.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import betainc, betaln

from serving.evaluation.estimates import draws_of
from serving.evaluation.metrics import Floats
from serving.model.impostors import Impostors, shape_of

_TAIL = 0.1
_REPLICATES = 200
_FEWEST, _MOST = 5.0, 5000.0  # dimensions


@dataclass(frozen=True)
class Comparisons:
    """Cosines with strangers.

    Attributes:
        cosines: float64 (C,).
        people: intp (C, 2): the person on the photo, and the one it was compared with.
        shares: float64 (C,): the weight of each, when all people count once.
    """

    cosines: Floats
    people: NDArray[np.intp]
    shares: Floats


@dataclass(frozen=True)
class Fit:
    """``likeliest`` is the fit to all people, ``expected`` the one to use; ``low`` and ``high``
    bound the middle 95% of the thresholds of the fits to bootstrap samples."""

    likeliest: Impostors
    expected: Impostors
    low: float
    high: float


def fit(
    comparisons: Comparisons,
    count: int,
    at: tuple[int, float],
    measured_on: str,
    rng: np.random.Generator,
) -> Fit:
    """Fit strangers' cosines.

    Args:
        count: people of the sample.
        at: the gallery's size and the expected FPIR.
    """
    once = likeliest_of(comparisons, measured_on)
    likeliest = once(np.ones(count, np.int64))
    assert likeliest is not None  # a tenth is above its own quantile
    replicates = [f for d in draws_of(count, _REPLICATES, rng) if (f := once(d)) is not None]
    low, high = np.quantile([f.threshold(*at) for f in replicates], [0.025, 0.975]).tolist()
    people, fpir = at

    def excess(threshold: float) -> float:
        """The average FPIR at a threshold, less the wanted one; it falls."""
        return float(np.mean([f.fpir(threshold, people) for f in replicates])) - fpir

    threshold = _root(excess, -1.0, 1.0)
    expected = _with_threshold(likeliest, threshold, at)
    return Fit(likeliest, expected, low, high)


def likeliest_of(
    comparisons: Comparisons, measured_on: str
) -> Callable[[NDArray[np.int64]], Impostors | None]:
    """The likeliest fit, as a function of people's weights, (P,); None: no weight in the tail."""
    border = quantile(comparisons.cosines, comparisons.shares, 1 - _TAIL)

    def once(drawn: NDArray[np.int64]) -> Impostors | None:
        weights = comparisons.shares * drawn[comparisons.people].prod(axis=1)
        if not weights[comparisons.cosines > border].sum():
            return None
        mean, dimensions = _likeliest(comparisons.cosines, weights, border)
        return Impostors(mean=mean, dimensions=dimensions, measured_on=measured_on)

    return once


def _likeliest(cosines: Floats, weights: Floats, border: float) -> tuple[float, float]:
    """Mean and dimensions of weighted cosines of which those up to ``border`` are censored."""
    total = weights.sum()
    mean = float(np.clip((cosines * weights).sum() / total, -0.5, 0.5))
    tail = cosines > border
    w, c = weights[tail] / total, np.clip(cosines[tail], -1 + 1e-6, 1 - 1e-6)
    # The statistics of the cosines that the likelihood of the tail needs.
    count, up, down = w.sum(), (w * np.log1p(c)).sum(), (w * np.log1p(-c)).sum()

    def loss(log_dimensions: float) -> float:
        a, b = shape_of(mean, math.exp(log_dimensions))
        # The factor of log(2) depends on the dimensions: it must stay.
        whole = betaln(a, b) + (a + b - 1) * math.log(2)
        inside = (a - 1) * up + (b - 1) * down - count * whole
        censored = math.log(max(float(betainc(a, b, (1 + border) / 2)), 1e-300))
        return -float(inside + (1 - count) * censored)

    bounds = math.log(_FEWEST), math.log(_MOST)
    lowest = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    return mean, math.exp(float(lowest.x))


def _with_threshold(likeliest: Impostors, threshold: float, at: tuple[int, float]) -> Impostors:
    """The same mean, with the dimensions (rounded down) that give ``threshold``."""
    dimensions = _root(lambda d: _changed(likeliest, d).threshold(*at) - threshold, _FEWEST, _MOST)
    return _changed(likeliest, max(_FEWEST, math.floor(dimensions * 10) / 10))


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """The root of a falling function; where it has none, the end that is nearer to one."""
    if falling(low) <= 0:
        return low
    if falling(high) >= 0:
        return high
    return float(brentq(falling, low, high))


def _changed(fitted: Impostors, dimensions: float) -> Impostors:
    return Impostors(
        mean=round(fitted.mean, 3), dimensions=dimensions, measured_on=fitted.measured_on
    )


def quantile(values: Floats, weights: Floats, level: float) -> float:
    """The quantile of weighted values: one of them."""
    order = np.argsort(values)
    summed = np.cumsum(weights[order])
    place = np.searchsorted(summed, level * summed[-1])
    return float(values[order][min(place, len(values) - 1)])
