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

    def excess(threshold: float) -> float:
        """The average FPIR at a threshold, less the wanted one; it falls."""
        return float(np.mean([f.fpir(threshold, people) for f in replicates])) - fpir

    threshold = _root(excess, -1.0, 1.0)
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


def _with_threshold(found: Impostors, threshold: float, at: tuple[int, float]) -> Impostors:
    """The same mean, and the dimensions (rounded down) that ask for ``threshold``."""
    dimensions = _root(lambda d: _changed(found, d).threshold(*at) - threshold, _FEWEST, _MOST)
    return _changed(found, max(_FEWEST, math.floor(dimensions * 10) / 10))


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function is 0; where it never is, the end that is nearer to that."""
    if falling(low) <= 0:
        return low
    if falling(high) >= 0:
        return high
    return float(brentq(falling, low, high))


def _changed(found: Impostors, dimensions: float) -> Impostors:
    return Impostors(
        mean=round(found.mean, 3), dimensions=dimensions, measured_on=found.measured_on
    )


def _quantile(values: Floats, weights: Floats, level: float) -> float:
    order = np.argsort(values)
    summed = np.cumsum(weights[order])
    place = np.searchsorted(summed, level * summed[-1])
    return float(values[order][min(place, len(values) - 1)])
