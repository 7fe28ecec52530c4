"""Error rates of lookups, with exact intervals that know that photos of one person are alike.

Trials that are independent have the interval of Clopper and Pearson ("The use of confidence or
fiducial limits", Biometrika 26, 1934), which holds for any number of errors, none included. The
lookups of one person are not independent, so their number is replaced by an effective one: Korn and
Graubard, "Confidence intervals for proportions with small expected number of positive counts
estimated from survey data", Survey Methodology 24 (1998), with people as the clusters. The variance
that it rests on cannot be estimated where hardly anybody has an error (or hardly anybody is
without): below ten people, each person counts as one trial.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtrit

from serving.evaluation.estimates import TAIL, Estimate, clopper_pearson

# People with an error, and people with a lookup without one, to estimate a variance from.
_FEWEST = 10


@dataclass(frozen=True)
class Rate(Estimate):
    """A share of lookups, its interval, and the counts behind it.

    Attributes:
        errors, lookups: the counts; a photo that is looked up in several galleries counts each
            time.
        photos, people: different ones that were looked up.
        people_with_errors: those who met at least one.
    """

    errors: int = 0
    lookups: int = 0
    photos: int = 0
    people: int = 0
    people_with_errors: int = 0


def rate_of(
    errors: NDArray[np.bool_], person: NDArray[np.intp], photo: NDArray[np.intp] | None = None
) -> Rate:
    """The share of ``errors`` (L,) with its interval.

    Args:
        person, photo: of each lookup, (L,); without photos each lookup is one of a photo of its
            own.
    """
    if not len(errors):
        return Rate(None, note="nothing to measure")
    _, place = np.unique(person, return_inverse=True)
    trials = np.bincount(place).astype(np.float64)
    wrong = np.bincount(place, errors).astype(np.float64)
    people, photos = len(trials), len(errors) if photo is None else len(np.unique(photo))
    value = float(wrong.sum() / trials.sum())
    low, high = clopper_pearson(value, _effective(value, wrong, trials, photos))
    return Rate(
        value,
        low,
        high,
        errors=int(errors.sum()),
        lookups=len(errors),
        photos=photos,
        people=people,
        people_with_errors=int((wrong > 0).sum()),
    )


def upper_bounds(shares: NDArray[np.float64], trials: int) -> NDArray[np.float64]:
    """The one-sided 95% bounds of shares of ``trials``; they rise with the share."""
    errors = shares * trials
    left = np.maximum(trials - errors, 0)
    with np.errstate(invalid="ignore"):
        bounds = betaincinv(errors + 1, left, 0.95)
    return np.where(left > 1e-9, bounds, 1.0)


def _effective(
    value: float, wrong: NDArray[np.float64], trials: NDArray[np.float64], photos: int
) -> float:
    """The number of independent trials that are worth as much: at most that of the photos."""
    people = len(trials)
    variance = ((wrong - value * trials) ** 2).sum() / trials.sum() ** 2
    few = min((wrong > 0).sum(), (wrong < trials).sum()) < _FEWEST
    if few or not variance > 0:
        return float(people)
    variance *= people / (people - 1)
    effective = value * (1 - value) / variance
    if photos > 1:
        # The variance itself is estimated from few people.
        effective *= (stdtrit(photos - 1, TAIL) / stdtrit(people - 1, TAIL)) ** 2
    return float(min(effective, photos))
