"""Which faces are named: the threshold, a cosine, and the decision by it."""

from __future__ import annotations

from collections.abc import Sequence

from serving.errors import Unavailable
from serving.matching.records import Candidate
from serving.model.card import ModelCard
from serving.settings import MatchSettings


def threshold_of(
    asked: float | None, matching: MatchSettings, card: ModelCard, people: int
) -> float:
    """The caller's threshold, or that of the settings, or ``auto``.

    A card that does not say how alike strangers are has a fixed threshold, too, which is used where
    the settings do not ask for anything.

    Args:
        people: how many are in the gallery; ``auto`` is stricter, the more there are.

    Raises:
        Unavailable: ``auto``, and nothing is known of how alike strangers are.
    """
    if asked is not None:
        return asked
    if isinstance(matching.threshold, float):
        return matching.threshold
    if card.impostors is None:
        if matching.threshold is None:
            return card.threshold
        # The card's threshold instead would break the promise of `fpir` without a word.
        raise Unavailable(_NOT_MEASURED)
    return card.impostors.threshold(people, matching.fpir)


def named(candidates: Sequence[Candidate], threshold: float) -> Candidate | None:
    """The candidate that a face is: the best one, if its cosine reaches the threshold.

    Args:
        candidates: of one face, best first; their similarities are not rounded.
    """
    best = candidates[0] if candidates else None
    return best if best is not None and best.similarity >= threshold else None


def pair_threshold_of(asked: float | None, matching: MatchSettings, card: ModelCard) -> float:
    """The cosine from which on two photos show one person: the caller's, that of the settings, or
    the card's for verification."""
    if asked is not None:
        return asked
    if matching.verify_threshold is not None:
        return matching.verify_threshold
    return card.pairs.threshold


def threshold_problem(matching: MatchSettings, card: ModelCard) -> str | None:
    """Why these settings cannot be kept with this model; None: they can."""
    return _NOT_MEASURED if matching.threshold == "auto" and card.impostors is None else None


_NOT_MEASURED = (
    "match.threshold is auto, and the model's card does not say how alike strangers are; "
    "run faces calibrate, or set a threshold."
)
