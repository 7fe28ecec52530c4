"""Estimates with confidence intervals, by bootstrap over people, and notes where data are few.

Photos of one person are alike, so the bootstrap draws people, not photos: a comparison counts as
often as its person was drawn, one of two people as often as the product (the subsets bootstrap:
Bolle, Ratha, Pankanti, "Error analysis of pattern recognition systems", Computer Vision and Image
Understanding 93, 2004). Intervals are the middle 95% of the replicates.

A rate of which nothing was seen has no spread in any replicate. Its interval is the exact one of
Clopper and Pearson ("The use of confidence or fiducial limits", Biometrika 26, 1934) with people as
the trials. And n independent trials without an error show that a rate is below 3 / n, but nothing
of lower rates (95%): the rule of three (Hanley, Lippman-Hand, "If nothing goes wrong, is everything
all right?", JAMA 249, 1983).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

TAIL = 0.025  # on each side of an interval
_LEVELS = (TAIL, 1 - TAIL)
# Doddington's rule: 30 errors for an estimate that is likely within 30% (Doddington et al.,
# "The NIST speaker recognition evaluation", Speech Communication 31, 2000).
_ENOUGH = 30


@dataclass(frozen=True)
class Estimate:
    """A number and its interval; None: it cannot be measured, and the note says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str | None = None


def draws_of(people: int, replicates: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The number of times that each person is drawn in each replicate: (R, P)."""
    return rng.multinomial(people, np.full(people, 1 / people), size=replicates)


def estimate(
    measure: Callable[[NDArray[np.int64]], float],
    draws: NDArray[np.int64],
    note: str | None = None,
) -> Estimate:
    """``measure`` with every person counted once, and its interval.

    Args:
        measure: takes the weight of each person, (P,); returns NaN where nothing is left.
    """
    (result,) = estimates(lambda drawn: (measure(drawn),), draws, [note])
    return result


def estimates(
    measure: Callable[[NDArray[np.int64]], Iterable[float]],
    draws: NDArray[np.int64],
    notes: Iterable[str | None],
    people: Sequence[int] = (),
) -> list[Estimate]:
    """The same for a ``measure`` of several numbers.

    Args:
        people: how many each number is about, where they are rates: the trials of the interval of a
            rate of 0 or 1.
    """
    values = list(measure(np.ones(draws.shape[1], np.int64)))
    replicates = np.array([list(measure(drawn)) for drawn in draws]).reshape(-1, len(values))
    results = []
    trials = people or [0] * len(values)
    for value, column, note, about in zip(values, replicates.T, notes, trials, strict=True):
        column = column[~np.isnan(column)]
        if math.isnan(value):
            results.append(Estimate(None, note=note or "nothing to measure"))
        elif len(column):
            low, high = np.quantile(column, _LEVELS).tolist()
            if about and low == high == value and value in (0, 1):
                low, high = clopper_pearson(value, about)
            results.append(Estimate(value, low, high, note))
        else:
            results.append(Estimate(value, note=note))
    return results


def clopper_pearson(share: float, trials: float, tail: float = TAIL) -> tuple[float, float]:
    """The interval of a share of ``trials``, which need not be a whole number."""
    errors = share * trials
    low = 0.0 if errors <= 0 else float(betaincinv(errors, trials - errors + 1, tail))
    high = 1.0 if errors >= trials else float(betaincinv(errors + 1, trials - errors, 1 - tail))
    return low, high


def shown_from(trials: int) -> float:
    """The lowest rate that so many trials can show, by the rule of three; 1: none."""
    return min(1.0, 3 / trials) if trials else 1.0


def needed_for(rate: float) -> int:
    """The trials without an error that show that a rate is at most this."""
    return math.ceil(3 / rate - 1e-9)


def at_rate(measured: Estimate, rate: float, comparisons: int) -> Estimate:
    """``measured``, a number at an error rate, with a note if too few comparisons support it."""
    expected = rate * comparisons
    if comparisons < needed_for(rate):
        return Estimate(
            None,
            note=f"not shown: {comparisons:,} of strangers, {needed_for(rate):,} needed",
        )
    if expected < _ENOUGH:
        count = max(1, math.floor(expected + 1e-9))
        return Estimate(measured.value, measured.low, measured.high, f"rough: rests on {count}")
    return measured
