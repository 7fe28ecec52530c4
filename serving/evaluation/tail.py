"""Fitting how alike strangers are; see `serving.model.impostors` for the model.

The mean is the sample's. The effective dimensions are fitted to the upper tenth of the cosines by
censored maximum likelihood: of the others only their number counts. What decides is the tail, and a
body of another form must not bend it.

Few people leave the tail uncertain, and an error on the one side names many more strangers than one
on the other side saves. So the fit is repeated on people drawn anew (see
`serving.evaluation.estimates`), and what is used is the threshold at which the FPIR is the wanted
one on the average of these fits: what is to be expected, the uncertainty included. It is stricter
than that of the likeliest fit, and the more people, the less.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.estimates import draws_of
from serving.evaluation.metrics import Floats
from serving.model.impostors import Impostors, shape_of

_TAIL = 0.1
_REPLICATES = 200
_FEWEST, _MOST = 5.0, 5000.0  # dimensions
# In the middle of equal parts of -1 to 1.
_GRID = (np.arange(2048) + 0.5) / 1024 - 1
_THRESHOLDS = np.linspace(-1, 1, 4001)
_UP, _DOWN = np.log1p(_GRID), np.log1p(-_GRID)


@dataclass(frozen=True)
class Comparisons:
    """Cosines with strangers.

    Attributes:
        cosines: float64 (C,).
        people: intp (C, 2): whose photo, and with whom it was compared.
        shares: float64 (C,): what each counts for, when all people count once.
    """

    cosines: Floats
    people: NDArray[np.intp]
    shares: Floats


@dataclass(frozen=True)
class Fit:
    """``likeliest`` is the fit to everybody, ``expected`` the one to use; ``low`` and ``high`` are
    the bounds of 95% of the thresholds of the fits to people drawn anew."""

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
        at: the gallery's size and the FPIR that shall be the expected one.
    """
    once = likeliest_of(comparisons, measured_on)
    likeliest = once(np.ones(count, np.int64))
    assert likeliest is not None  # a tenth is above its own quantile
    replicates = [f for d in draws_of(count, _REPLICATES, rng) if (f := once(d)) is not None]
    low, high = np.quantile([f.threshold(*at) for f in replicates], [0.025, 0.975]).tolist()
    people, fpir = at
    # Falling; np.interp wants it to rise.
    average = np.mean([f.fpirs(_THRESHOLDS, people) for f in replicates], axis=0)
    threshold = float(np.interp(fpir, average[::-1], _THRESHOLDS[::-1]))
    expected = _with_threshold(likeliest, threshold, at)
    return Fit(likeliest, expected, low, high)


def likeliest_of(
    comparisons: Comparisons, measured_on: str
) -> Callable[[NDArray[np.int64]], Impostors | None]:
    """The likeliest fit, as a function of how often each person counts, (P,); None: of those who
    are left nobody is in the tail."""
    border = _quantile(comparisons.cosines, comparisons.shares, 1 - _TAIL)

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
    # All that the likelihood of the tail needs of the cosines.
    count, up, down = w.sum(), (w * np.log1p(c)).sum(), (w * np.log1p(-c)).sum()
    below = border >= _GRID

    def loss(dimensions: float) -> float:
        a, b = shape_of(mean, dimensions)
        logs = (a - 1) * _UP + (b - 1) * _DOWN
        top = logs.max()
        density = np.exp(logs - top)
        whole = np.log(density.sum()) + top
        inside = (a - 1) * up + (b - 1) * down - count * whole
        censored = np.log(max(density[below].sum(), 1e-300)) + top - whole
        return float(-(inside + (1 - count) * censored))

    return mean, float(np.exp(_lowest(lambda x: loss(np.exp(x)), np.log(_FEWEST), np.log(_MOST))))


def _lowest(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is lowest, by golden sections."""
    ratio = (5**0.5 - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > 1e-4:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = loss(right)
    return (low + high) / 2


def _with_threshold(found: Impostors, threshold: float, at: tuple[int, float]) -> Impostors:
    """The same mean, and the dimensions (rounded down) that ask for ``threshold``."""
    low, high = _FEWEST, _MOST
    for _ in range(30):
        middle = (low + high) / 2
        enough = _changed(found, middle).threshold(*at) > threshold
        low, high = (middle, high) if enough else (low, middle)
    return _changed(found, max(_FEWEST, math.floor(low * 10) / 10))


def _changed(found: Impostors, dimensions: float) -> Impostors:
    return Impostors(
        mean=round(found.mean, 3), dimensions=dimensions, measured_on=found.measured_on
    )


def _quantile(values: Floats, weights: Floats, level: float) -> float:
    order = np.argsort(values)
    summed = np.cumsum(weights[order])
    place = np.searchsorted(summed, level * summed[-1])
    return float(values[order][min(place, len(values) - 1)])
