"""The distribution of strangers' cosines, and the threshold for a gallery of N people.

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

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import betaincc, betainccinv

Floats = NDArray[np.float64]


class Impostors(BaseModel):
    """The distribution of the cosine of a face and a stranger, as the model's card holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: float = Field(ge=-0.5, le=0.5)
    dimensions: float = Field(ge=5, le=100_000, description="effective; fewer: a wider spread")
    measured_on: str

    def survival(self, cosine: float) -> float:
        """The probability that a stranger's cosine is at least this one."""
        return float(self._survivals(np.array([cosine]))[0])

    def fpir(self, threshold: float, people: int) -> float:
        """The false-positive identification rate of a threshold in a gallery of ``people``."""
        return float(self.fpirs(np.array([threshold]), people)[0])

    def fpirs(self, thresholds: Floats, people: int) -> Floats:
        """The same for many thresholds."""
        with np.errstate(divide="ignore"):  # for a threshold that every stranger reaches
            rates: Floats = -np.expm1(people * np.log1p(-self._survivals(thresholds)))
            return rates

    def _survivals(self, cosines: Floats) -> Floats:
        a, b = shape_of(self.mean, self.dimensions)
        survivals: Floats = betaincc(a, b, np.clip((1 + cosines) / 2, 0, 1))
        return survivals

    def threshold(self, people: int, fpir: float) -> float:
        """The cosine that the best of ``people`` strangers reaches in a share ``fpir`` of lookups.

        For 0 people it is that for one.
        """
        return _threshold(self.mean, self.dimensions, people, fpir)

    def best(self, levels: Floats, people: int) -> Floats:
        """Quantiles of the cosine of the best of ``people`` strangers, for levels in (0, 1)."""
        return _best(self.mean, self.dimensions, levels, people)


# Called once for each candidate, and a gallery keeps its size for a while.
@functools.lru_cache(maxsize=1024)
def _threshold(mean: float, dimensions: float, people: int, fpir: float) -> float:
    return float(_best(mean, dimensions, np.array([1 - fpir]), people)[0])


def _best(mean: float, dimensions: float, levels: Floats, people: int) -> Floats:
    a, b = shape_of(mean, dimensions)
    survival = -np.expm1(np.log(levels) / max(people, 1))
    cosines: Floats = 2 * betainccinv(a, b, survival) - 1
    return cosines


def shape_of(mean: float, dimensions: float) -> tuple[float, float]:
    """The two parameters of the Beta distribution of (1 + cosine) / 2."""
    return (dimensions - 1) * (1 + mean) / 2, (dimensions - 1) * (1 - mean) / 2
