"""Pairs of people of a gallery who may be one person."""

from __future__ import annotations

from serving import deadline
from serving.gallery import Snapshot, duplicates
from serving.matching.records import (
    DuplicatesPage,
)
from serving.matching.threshold import threshold_of
from serving.model.card import ModelCard
from serving.settings import MatchSettings

# Comparisons of two people in one look for duplicates: some seconds of one core.
_COMPARISONS = 1_000_000_000


_LEAST_COMPARED = 100


def compare_people(
    snapshot: Snapshot,
    card: ModelCard,
    asked: float | None,
    limit: int,
    after: int,
    matching: MatchSettings,
) -> DuplicatesPage:
    """Likely duplicates among the next people past the id ``after`` and all others.

    Args:
        asked: the caller's threshold; None: the one at which `/infer` names somebody.
    """
    everybody = len(snapshot)
    threshold = threshold_of(asked, matching, card, everybody)
    found = duplicates.find(
        snapshot,
        threshold,
        limit,
        after=after,
        people=max(_LEAST_COMPARED, _COMPARISONS // max(everybody, 1)),
        advance=lambda people: deadline.check(),
    )
    return DuplicatesPage(
        found.best, found.found, found.next, threshold, everybody, snapshot.version
    )
