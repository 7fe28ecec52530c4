"""Thresholds for a wanted FPIR: of all people, and one at which it holds for every group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.estimates import needed_for
from serving.evaluation.lookups import Lookups, Trial
from serving.evaluation.metrics import Floats
from serving.evaluation.proportions import Rate, rate_of, upper_bounds
from serving.model.impostors import Impostors


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what it does in a gallery of this size.

    Attributes:
        of: ``all people``, or an attribute whose every group keeps the FPIR.
        bound: whether the upper 95% bound of the FPIR is at most the wanted one, with each person
            as one trial; otherwise the FPIR that was seen is.
        threshold: the lowest one, rounded up; None: there is none, and the note says why.
        fpir, fnir: of all people there.
        setting: ``match.fpir`` with which ``match.threshold: auto`` gives this threshold in a
            gallery of this size; None: it does not.
        strictest: the group that asks for it.
    """

    of: str
    bound: bool
    fpir_wanted: float
    gallery: int
    threshold: float | None
    fpir: Rate | None = None
    fnir: Rate | None = None
    setting: float | None = None
    strictest: str | None = None
    note: str | None = None


def operating_points(
    trial: Trial,
    gallery: int,
    fpir: float,
    labels: Mapping[str, Sequence[str]],
    impostors: Impostors | None,
) -> list[OperatingPoint]:
    """The thresholds for all people, and for each attribute.

    Args:
        labels: by attribute, the group of each person.
    """
    everybody = np.full(int(max(trial.known.person.max(), trial.unknown.person.max())) + 1, "")
    points = []
    for of, groups in (("all people", everybody), *((a, np.array(g)) for a, g in labels.items())):
        for bound in (False, True):
            points.append(_point(of, bound, groups, trial, gallery, fpir, impostors))
    return points


def _point(
    of: str,
    bound: bool,
    groups: NDArray[np.str_],
    trial: Trial,
    gallery: int,
    fpir: float,
    impostors: Impostors | None,
) -> OperatingPoint:
    unknown, known = trial.unknown, trial.known
    each: dict[str, float] = {}
    few, unshown = [], []
    for group in np.unique(groups[unknown.person]).tolist():
        here = groups[unknown.person] == group
        lowest = lowest_threshold(unknown.best[here], unknown.person[here], fpir, bound)
        if lowest is None:
            unshown.append(group)
        else:
            each[group] = lowest
        if len(np.unique(unknown.photo[here])) < needed_for(fpir):
            few.append(group)
    if unshown or not each:
        reason = "no threshold keeps the bound with so few people"
        unshown_in = f"not shown: {reason}{_named(unshown)}"
        return OperatingPoint(of, bound, fpir, gallery, None, note=unshown_in)
    strictest = max(each, key=lambda group: each[group])
    threshold = _up(each[strictest])
    note = None
    if few and not bound:
        note = f"seen, not shown: fewer than {needed_for(fpir):,} photos{_named(few)}"
    setting = None if impostors is None else impostors.fpir(threshold, gallery)
    return OperatingPoint(
        of,
        bound,
        fpir,
        gallery,
        threshold,
        fpir=_reached(unknown, threshold),
        fnir=rate_of(~(known.right & (known.best >= threshold)), known.person, known.photo),
        setting=_down(setting) if setting is not None and 0 < setting < 1 else None,
        strictest=strictest or None,
        note=note,
    )


def lowest_threshold(
    scores: Floats, person: NDArray[np.intp], fpir: float, bound: bool = False
) -> float | None:
    """The lowest threshold from which on the FPIR of these lookups is at most ``fpir``.

    Args:
        scores: the best candidate's cosine of each, (L,).
        bound: it is the upper 95% bound that has to be; every person counts as one trial, by the
            share of the person's lookups.

    Returns:
        None: with so few people even a threshold that nobody reaches does not show it.
    """
    _, place = np.unique(person, return_inverse=True)
    lookups = np.bincount(place)
    people = len(lookups)
    weights = 1 / (lookups[place] * people) if bound else np.full(len(scores), 1 / len(scores))
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ordered = ordered[np.isfinite(ordered)]
    if bound and upper_bounds(np.zeros(1), people)[0] > fpir:
        return None
    if not len(ordered):
        return -1.0
    # The last of each run of equal scores: a threshold accepts all of them or none.
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    shares = np.cumsum(weights[order])[ends]
    rates = upper_bounds(np.minimum(shares, 1), people) if bound else shares
    broken = np.flatnonzero(rates > fpir * (1 + 1e-9))
    if not len(broken):
        return float(ordered[ends[-1]])
    if broken[0] == 0:
        return math.nextafter(float(ordered[0]), math.inf)
    return float(ordered[ends[broken[0] - 1]])


def _reached(lookups: Lookups, threshold: float) -> Rate:
    return rate_of(lookups.best >= threshold, lookups.person, lookups.photo)


def _up(threshold: float) -> float:
    """Rounded up to four places, at most: lower, it might not keep the rate."""
    return math.ceil(threshold * 10_000) / 10_000


def _down(rate: float) -> float:
    """Rounded down to three digits: higher, the threshold would be lower."""
    places = 2 - math.floor(math.log10(rate))
    return math.floor(rate * 10.0**places) / 10.0**places


def _named(groups: Sequence[str]) -> str:
    names = [group for group in groups if group]
    return f" in {', '.join(names)}" if names else ""
