"""Fits the thresholds and confidences of a model's card to photos of people.

Threshold. When unknown people are looked up in a gallery of ``gallery`` people, at most a share
``fpir`` of them may get a name. A few thousand comparisons do not contain such a quantile, so it is
taken from a model of strangers' cosines (`serving.model.impostors`), fitted by
`serving.evaluation.tail`. As in a gallery, each photo is compared with the centroid of every other
person.

Calibration. The confidence of an answer is the probability that the best candidate is the person on
the photo, when half of the people looked up are enrolled. The cosines of the best strangers are the
quantiles of the maximum of ``gallery`` draws from that model. The enrolled person's cosine is
measured, once against one photo and once against the centroid of all the others, and is the best
only where it exceeds the strangers'. A logistic curve is fitted to these by a trust region, with
Platt's smoothed targets ("Probabilistic outputs for support vector machines", 1999): few people
must not give certainty.

Verification. Two photos are compared only with each other, so threshold and calibration are fitted
separately, to pairs of single photos: at most ``far`` of the pairs of strangers are accepted, and
half of the pairs are of one person.

Margin. One person under two ids, or two who are as alike, are not told apart by the photo: which of
the two records is nearer is chance. So the margin is the one that the difference of a photo's
cosines with two records of its own person exceeds in 5% of the cases, of those where both reach the
threshold (`serving.matching.ambiguity`).

Every person has the same weight, however many photos there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from serving.evaluation.comparisons import Compared, Records, compare, compare_records
from serving.evaluation.metrics import Floats
from serving.evaluation.sample import NotMeasurable, Sample
from serving.evaluation.tail import Fit, fit, quantile
from serving.model.card import Calibration, Margin, ModelCard, Verification
from serving.model.impostors import Impostors

FEW_PEOPLE = 50
ENROLLED = 0.5  # the share of lookups of enrolled people, and of pairs of one person
_LEVELS = (np.arange(400) + 0.5) / 400
_WITHIN = 0.95  # the share of differences between two records of one person within the margin


@dataclass(frozen=True)
class Wanted:
    """The operating point: in a gallery of ``gallery`` people an FPIR; for pairs a FAR."""

    gallery: int = 1000
    fpir: float = 0.01
    far: float = 0.001


@dataclass(frozen=True)
class Calibrated:
    """The result. The thresholds come from ``fit`` and ``pair_fit``."""

    compared: Compared
    wanted: Wanted
    fit: Fit
    pair_fit: Fit
    threshold: float
    calibration: Calibration
    verification: Verification
    margin: Margin | None

    def card(self, before: ModelCard) -> ModelCard:
        """``before`` with the new numbers."""
        changes = {
            "threshold": self.threshold,
            "calibration": self.calibration,
            "verification": self.verification,
            "impostors": self.fit.expected,
            "margin": self.margin,
        }
        return before.model_copy(update=changes)


def calibrate(
    sample: Sample, wanted: Wanted, rng: np.random.Generator, source: str | None = None
) -> Calibrated:
    """Fit both thresholds and both calibrations.

    Args:
        source: a description of the photos for the card; None: the card has none.

    Raises:
        NotMeasurable: too few people or photos, or the model does not distinguish them.
    """
    compared = compare(sample, rng)
    of = f"{compared.photos} photos of {compared.people} people" + (
        f" ({source})" if source else ""
    )
    strangers = f"{len(compared.strangers.cosines)} comparisons with strangers"
    own = f"{len(compared.single.cosines)} pairs of one person"
    at = wanted.gallery, wanted.fpir
    lookup_fit = fit(compared.strangers, len(sample.ids), at, f"{of}: {strangers}", rng)
    pair_at = 1, wanted.far
    pair_fit = fit(compared.strange_pairs, len(sample.ids), pair_at, of, rng)
    threshold = round(lookup_fit.expected.threshold(*at), 3)
    return Calibrated(
        compared,
        wanted,
        lookup_fit,
        pair_fit,
        threshold=threshold,
        calibration=_curve(
            *_fit_lookups(compared, lookup_fit.expected, wanted.gallery),
            gallery=wanted.gallery,
            measured_on=f"{of}: {own}, {strangers}; meant for a gallery of {wanted.gallery} people "
            f"where {ENROLLED:.0%} of the faces are of enrolled people, and {wanted.fpir:g} of "
            "the others named at the threshold",
        ),
        verification=Verification(
            threshold=round(pair_fit.expected.threshold(*pair_at), 3),
            calibration=_curve(
                *_fit_pairs(compared),
                gallery=None,
                measured_on=f"{of}: {own}, {len(compared.strange_pairs.cosines)} pairs of "
                f"strangers; {ENROLLED:.0%} of the pairs are of one person, and {wanted.far:g} of "
                "the others taken for one at the threshold",
            ),
        ),
        margin=_margin(compare_records(sample, rng), threshold, of),
    )


def _margin(records: Records, threshold: float, of: str) -> Margin | None:
    """None: no photo reaches the threshold with two records of its person."""
    both = records.lower >= threshold
    if not both.any():
        return None
    person = records.person[both]
    weights = 1 / np.bincount(person)[person]
    found = quantile(records.gap[both], weights, _WITHIN)
    return Margin(
        cosine=round(found, 3),
        measured_on=f"{of}: {int(both.sum())} comparisons of a photo with two records of its "
        f"person, of which {_WITHIN:.0%} are within",
    )


def _fit_lookups(compared: Compared, strangers: Impostors, gallery: int) -> tuple[float, float]:
    """Slope and intercept of the confidence as a function of the best candidate's cosine."""
    best = strangers.best(_LEVELS, gallery)
    # One photo enrolled counts as much as all of them.
    own = np.concatenate([compared.single.cosines, compared.centroid.cosines])
    weight = np.concatenate([compared.single.shares(), compared.centroid.shares()]) / 2
    place = np.searchsorted(best, own)  # the number of the strangers' best cosines below each
    wins = place / len(best)
    # Where a stranger's cosine is larger, the answer is wrong.
    lost = np.cumsum(np.bincount(place, weight, minlength=len(best) + 1))[:-1] / len(best)
    x = np.concatenate([own, best])
    right = np.concatenate([ENROLLED * weight * wins, np.zeros_like(best)])
    wrong = np.concatenate([np.zeros_like(own), ENROLLED * lost + (1 - ENROLLED) / len(best)])
    return fit_logistic(x, _targets(own, best, compared.photos), right + wrong)


def _fit_pairs(compared: Compared) -> tuple[float, float]:
    """Slope and intercept of the confidence as a function of the cosine of two photos."""
    one, two = compared.single, compared.strange_pairs
    strange = two.shares / two.shares.sum()
    weight = np.concatenate([ENROLLED * one.shares(), (1 - ENROLLED) * strange])
    target = _targets(one.cosines, two.cosines, compared.photos)
    return fit_logistic(np.concatenate([one.cosines, two.cosines]), target, weight)


def fit_logistic(x: Floats, target: Floats, weight: Floats) -> tuple[float, float]:
    """Weighted logistic regression of ``target`` (0 to 1) on ``x``: slope and intercept."""
    design = np.stack([x - x.mean(), np.ones_like(x)], axis=1)

    def loss(at: Floats) -> float:
        z = design @ at
        return float(weight @ (np.logaddexp(0, z) - target * z))

    def gradient(at: Floats) -> Floats:
        slopes: Floats = design.T @ (weight * (expit(design @ at) - target))
        return slopes

    def curvature(at: Floats) -> Floats:
        p = expit(design @ at)
        curved: Floats = (design * (weight * p * (1 - p))[:, None]).T @ design
        return curved

    fitted = minimize(
        loss,
        np.zeros(2),
        jac=gradient,
        hess=curvature,
        method="trust-exact",
        options={"gtol": 1e-8},
    )
    slope, at_mean = fitted.x.tolist()
    return slope, at_mean - slope * float(x.mean())


def _targets(right: Floats, wrong: Floats, photos: int) -> Floats:
    """Platt's targets: as if one more photo of each kind had been on the wrong side."""
    low = 1 / (photos + 2)
    return np.concatenate([np.full_like(right, 1 - low), np.full_like(wrong, low)])


def _curve(slope: float, at_zero: float, gallery: int | None, measured_on: str) -> Calibration:
    if round(slope, 2) <= 0:
        raise NotMeasurable("These photos are not told apart at all: are the folders right?")
    return Calibration(
        slope=round(slope, 2), intercept=round(at_zero, 2), gallery=gallery, measured_on=measured_on
    )
