"""Thresholds: the cosine from which on a face is named, and the decision by it."""

from __future__ import annotations

from collections.abc import Sequence

from serving.errors import Unavailable
from serving.gallery.duplicates import SAME
from serving.matching.records import Candidate
from serving.model.card import ModelCard
from serving.settings import MatchSettings


def threshold_of(
    requested: float | None, matching: MatchSettings, card: ModelCard, people: int
) -> float:
    """The caller's threshold, else that of the settings, else the one for the gallery's size.

    A card without a measurement of how similar strangers are has only a fixed threshold, which is
    used unless the settings say ``auto``.

    Args:
        requested: the caller's threshold; None: it gave none.
        people: how many are in the gallery; ``auto`` is stricter for more people.

    Raises:
        Unavailable: the settings say ``auto``, and the card lacks that measurement.
    """
    if requested is not None:
        return requested
    if isinstance(matching.threshold, float):
        return matching.threshold
    if card.impostors is None:
        if matching.threshold is None:
            return card.threshold
        # The card's threshold would silently break the promise of `fpir`.
        raise Unavailable(_NOT_MEASURED)
    return card.impostors.threshold(people, matching.fpir)


def named(candidates: Sequence[Candidate], threshold: float) -> Candidate | None:
    """The candidate that a face is named as: the best one, if its cosine reaches the threshold.

    If a rival's cosine does, too, the face is like two who are known to be two people: then it has
    to reach the threshold of that pair.

    Args:
        candidates: for one face, best first; with similarities that are not rounded.
    """
    best = candidates[0] if candidates else None
    if best is None:
        return None
    of_pairs = (pair for similarity, pair in best.rivals if similarity >= threshold)
    least = min(max(threshold, *of_pairs, -1.0), SAME)
    return best if best.similarity >= least else None


def pair_threshold_of(requested: float | None, matching: MatchSettings, card: ModelCard) -> float:
    """The cosine from which on two photos show one person: the caller's, else that of the settings,
    else the card's for verification."""
    if requested is not None:
        return requested
    if matching.verify_threshold is not None:
        return matching.verify_threshold
    return card.pairs.threshold


def threshold_problem(matching: MatchSettings, card: ModelCard) -> str | None:
    """Why these settings do not work with this model; None: they do."""
    return _NOT_MEASURED if matching.threshold == "auto" and card.impostors is None else None


_NOT_MEASURED = (
    "match.threshold is auto, and the model's card does not say how alike strangers are; "
    "run faces calibrate, or set a threshold."
)
