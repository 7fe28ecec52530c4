"""Error rates (ROC, EER, calibration error) from weighted scores of comparisons.

A comparison that could not be made, because no face was found, has the score -inf: it is accepted
at no threshold, and stays in every denominator (false reject and false accept rates of ISO/IEC
19795-1, which include failures to acquire).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Weights = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Roc:
    """The error rates at every threshold that separates two scores.

    Attributes:
        thresholds: (K,), finite, descending.
        far: (K,), the weighted share of impostor scores at or above each.
        tar: (K,), the same of genuine scores.
    """

    thresholds: Floats
    far: Floats
    tar: Floats

    def threshold_at(self, far: float) -> float:
        """The lowest score at which no more than ``far`` of the impostors are accepted."""
        k = self._at(far)
        return float(self.thresholds[k]) if k >= 0 else self._above_all()

    def tar_at(self, far: float) -> float:
        """The true accept rate at that threshold."""
        k = self._at(far)
        return float(self.tar[k]) if k >= 0 else 0.0

    def eer(self) -> float:
        """The equal error rate, interpolated between the two thresholds around it."""
        far, frr = np.append(0.0, self.far), np.append(1.0, 1 - self.tar)
        crossed = np.flatnonzero(far >= frr)
        if not len(crossed):  # failures to acquire keep FRR above FAR at all thresholds
            return float(far[-1] + frr[-1]) / 2
        k = int(crossed[0])
        before, after = frr[k - 1] - far[k - 1], far[k] - frr[k]
        return float(far[k - 1] + (far[k] - far[k - 1]) * before / (before + after))

    def _at(self, far: float) -> int:
        # A sum of many weights may be off in its last digit.
        return int(np.searchsorted(self.far, far * (1 + 1e-9), side="right")) - 1

    def _above_all(self) -> float:
        return math.nextafter(float(self.thresholds[0]), math.inf) if len(self.thresholds) else 1.0


class Scores:
    """Genuine and impostor scores, sorted once, to be weighted many times.

    Args:
        genuine, impostor: (G,) and (I,), -inf where a comparison could not be made.
    """

    def __init__(self, genuine: Floats, impostor: Floats) -> None:
        scores = np.concatenate([genuine, impostor])
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        ordered = ordered[np.isfinite(ordered)]
        # The last of each run of equal scores: a threshold accepts all of them or none.
        self._ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)])
        self._thresholds = ordered[self._ends]
        self._genuine, self._impostor = len(genuine), len(impostor)

    def roc(self, genuine: Weights | None = None, impostor: Weights | None = None) -> Roc:
        """The rates; every comparison counts ``genuine`` (G,) and ``impostor`` (I,) times."""
        ones, twos = np.ones(self._genuine), np.ones(self._impostor)
        g, i = ones if genuine is None else genuine, twos if impostor is None else impostor
        return Roc(
            self._thresholds,
            far=self._shares(np.concatenate([np.zeros_like(ones), i])),
            tar=self._shares(np.concatenate([g, np.zeros_like(twos)])),
        )

    def _shares(self, weights: Weights) -> Floats:
        total = weights.sum()
        summed = np.cumsum(weights[self._order], dtype=np.float64)[self._ends]
        return summed / total if total else np.full(len(self._ends), np.nan)


def row_products(a: NDArray[Any], b: NDArray[Any], places: NDArray[np.intp]) -> Floats:
    """The products of rows of ``a`` (n, D) and ``b`` (m, D) at ``places`` (C, 2): (C,)."""
    products = np.empty(len(places))
    for start in range(0, len(places), 100_000):  # at most 800 MB at once
        left, right = places[start : start + 100_000].T
        part = np.einsum("ij,ij->i", a[left], b[right], dtype=np.float64)
        products[start : start + 100_000] = part
    return products


def share(values: NDArray[np.bool_] | Floats, weights: Weights) -> float:
    """The weighted mean; NaN where the weights are all zero."""
    total = weights.sum()
    return float((values * weights).sum() / total) if total else math.nan


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence is between ``low`` and ``high``."""

    low: float
    high: float
    share: float  # of all answers
    confidence: float | None  # their mean; None: there are no such answers
    right: float | None  # the share of them that is right


def reliability(
    confidence: Floats, right: NDArray[np.bool_], weights: Weights, bins: int = 10
) -> list[Bin]:
    """Mean confidence against the share of right answers, in ``bins`` of equal width."""
    place = np.minimum((confidence * bins).astype(np.intp), bins - 1)
    total = weights.sum()
    results = []
    for n in range(bins):
        here = place == n
        weight = float(weights[here].sum())
        results.append(
            Bin(
                n / bins,
                (n + 1) / bins,
                weight / total if total else 0.0,
                share(confidence[here], weights[here]) if weight else None,
                share(right[here], weights[here]) if weight else None,
            )
        )
    return results


def calibration_error(bins: list[Bin]) -> float:
    """The expected calibration error: the mean distance of confidence from accuracy.

    Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
    """
    return sum(
        b.share * abs(b.confidence - b.right)
        for b in bins
        if b.confidence is not None and b.right is not None
    )
