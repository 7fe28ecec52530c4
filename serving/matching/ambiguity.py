"""Ambiguous faces: those for which the model cannot decide between two or more enrolled people."""

from __future__ import annotations

from collections.abc import Sequence

from serving.matching.records import Candidate
from serving.model.card import ModelCard
from serving.settings import MatchSettings

# The nearest people of each face that are compared; one may be enrolled under several ids.
COMPARED = 4


def margin_of(matching: MatchSettings, card: ModelCard) -> float | None:
    """The margin of the settings, else the card's; None: it was not measured, and no face is
    ambiguous."""
    if matching.ambiguous_margin is not None:
        return matching.ambiguous_margin
    return None if card.margin is None else card.margin.cosine


def as_likely(
    candidates: Sequence[Candidate],
    threshold: float,
    card: ModelCard,
    people: int,
    margin: float | None,
) -> tuple[Candidate, ...]:
    """The candidates that are nearly as likely as the best one, best first, with it, at most
    `COMPARED`; none where there is no doubt.

    They are within the margin, and similar enough to be the person by themselves: they reach the
    threshold, or their confidence is one half at least. By that alone the most similar of many
    strangers makes hardly a face ambiguous, however large the gallery is.

    Args:
        candidates: for one face, best first; with similarities that are not rounded.
        threshold: the cosine from which on a face is named. Below it a face is unknown, whoever is
            near; above it one that is like two who are known to be two people has no name either.
        people: the number enrolled.
        margin: see `margin_of`.
    """
    if not candidates or candidates[0].similarity < threshold or margin is None:
        return ()
    best = candidates[0]
    least = max(best.similarity - margin, min(threshold, card.even(people)))
    nearest = candidates[:COMPARED]
    likely = tuple(c for c in nearest if c is best or c.similarity >= least)
    return likely if len(likely) > 1 else ()
