"""How alike strangers are, and so which cosine tells a person from the best of N strangers.

The model. Were embeddings spread evenly over directions in ``d`` dimensions, the cosine c of two
strangers would have the density (1 - c^2)^((d - 3) / 2), which is (1 + c) / 2 being distributed as
Beta((d - 1) / 2, (d - 1) / 2): Cai, Fan, Jiang, "Distributions of Angles in Random Packing on
Spheres", Journal of Machine Learning Research 14 (2013) 1837-1864, which also has the law of the
largest of many. Embeddings of faces use fewer dimensions than they have, and strangers may resemble
each other a little on average; so ``d`` (the effective number of dimensions) and the mean are
fitted, and it stays a Beta distribution. Its tail ends at 1, as a cosine does; a normal or an
exponential tail does not, and is far too strict at a million people (docs/accuracy.md).

The gallery's size. A lookup among N strangers names one of them when the largest of N cosines
reaches the threshold t. If the N comparisons were independent,

    FPIR(N, t) = 1 - (1 - S(t))^N,    S(t) = P(c >= t).

They share the photo that is looked up, so they are not; since 1 - (1 - s)^N is concave in s, that
makes the true rate smaller (Jensen), never larger.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

_GRID = 8_193  # cosines of the table; its error is far below the third digit

Floats = NDArray[np.float64]


class Impostors(BaseModel):
    """The distribution of the cosine of a face and a stranger, as the model's card holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float = Field(ge=-0.5, le=0.5)
    dimensions: float = Field(ge=5, le=100_000, description="effective; fewer: a wider spread")
    measured_on: str

    def survival(self, cosine: float) -> float:
        """The probability that a stranger is at least so much alike."""
        grid, logs = _log_survival(self.mean, self.dimensions)
        return math.exp(np.interp(cosine, grid, logs))

    def fpir(self, threshold: float, people: int) -> float:
        """The false-positive identification rate of a threshold in a gallery of ``people``."""
        return float(self.fpirs(np.array([threshold]), people)[0])

    def fpirs(self, thresholds: Floats, people: int) -> Floats:
        """The same of many thresholds."""
        grid, logs = _log_survival(self.mean, self.dimensions)
        survival = np.exp(np.interp(thresholds, grid, logs))
        with np.errstate(divide="ignore"):  # of a threshold that everybody reaches
            rates: Floats = -np.expm1(people * np.log1p(-survival))
            return rates

    def threshold(self, people: int, fpir: float) -> float:
        """The cosine that the best of ``people`` strangers reaches in a share ``fpir`` of lookups.

        Of nobody (0 people) it is that of one.
        """
        return _threshold(self.mean, self.dimensions, people, fpir)

    def best(self, levels: Floats, people: int) -> Floats:
        """Quantiles of the cosine of the best of ``people`` strangers, for levels in (0, 1)."""
        return _best(self.mean, self.dimensions, levels, people)


# Asked for once a candidate, and a gallery keeps its size for a while.
@functools.lru_cache(maxsize=1024)
def _threshold(mean: float, dimensions: float, people: int, fpir: float) -> float:
    return float(_best(mean, dimensions, np.array([1 - fpir]), people)[0])


def _best(mean: float, dimensions: float, levels: Floats, people: int) -> Floats:
    survival = -np.expm1(np.log(levels) / max(people, 1))
    grid, logs = _log_survival(mean, dimensions)
    # np.interp wants what it looks up in to rise.
    return np.interp(np.log(survival), logs[::-1], grid[::-1])


@functools.lru_cache(maxsize=64)
def _log_survival(mean: float, dimensions: float) -> tuple[Floats, Floats]:
    """Cosines, rising, and the logarithm of the probability to be at or above each."""
    grid, logs = log_density(mean, dimensions)
    steps = np.logaddexp(logs[1:], logs[:-1])
    # From the top, where the terms are small: the tail keeps its digits.
    above = np.logaddexp.accumulate(steps[::-1])[::-1] - np.logaddexp.reduce(steps)
    # Nothing is above the last cosine; a finite number, for what is interpolated next to it.
    return grid, np.append(np.minimum(above, 0.0), above[-1] - 100)


def log_density(mean: float, dimensions: float) -> tuple[Floats, Floats]:
    """Cosines, rising, at equal distances, and the logarithm of the density there but for a
    constant."""
    a, b = shape_of(mean, dimensions)
    # In the middle of equal parts: at the ends the logarithms are infinite.
    grid = (np.arange(_GRID) + 0.5) * 2 / _GRID - 1
    return grid, (a - 1) * np.log1p(grid) + (b - 1) * np.log1p(-grid)


def shape_of(mean: float, dimensions: float) -> tuple[float, float]:
    """The two parameters of the Beta distribution of (1 + cosine) / 2."""
    return (dimensions - 1) * (1 + mean) / 2, (dimensions - 1) * (1 - mean) / 2
