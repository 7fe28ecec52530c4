"""Pairs of people of a gallery who may be one person."""

from __future__ import annotations

from serving import deadline
from serving.gallery import Snapshot, duplicates
from serving.matching.records import DuplicatesPage
from serving.matching.threshold import threshold_of
from serving.model.card import ModelCard
from serving.settings import MatchSettings

# Comparisons of two people in one call: some seconds of one core.
_COMPARISONS = 1_000_000_000
# People compared with all others in one call, however large the gallery is.
_LEAST_COMPARED = 100


def compare_people(
    snapshot: Snapshot,
    card: ModelCard,
    requested: float | None,
    limit: int,
    after: int,
    matching: MatchSettings,
    *,
    now: float,
    comparisons: int = _COMPARISONS,
    least: int = _LEAST_COMPARED,
) -> DuplicatesPage:
    """Likely duplicates among the next people past the id ``after`` and all others.

    Args:
        requested: the caller's threshold; None: the one at which `/infer` names a face.
        now: seconds since 1970; whose retention has ended by then is left out.
        comparisons: of two people, in one call.
        least: people that are compared with all others, even if that takes more comparisons.
    """
    snapshot = snapshot.at(now)
    everybody = len(snapshot)
    threshold = threshold_of(requested, matching, card, everybody)
    pairs = duplicates.find(
        snapshot,
        threshold,
        limit,
        after=after,
        people=max(least, comparisons // max(everybody, 1)),
        advance=lambda people: deadline.check(),
    )
    return DuplicatesPage(
        pairs.best, pairs.found, pairs.next, threshold, everybody, snapshot.version
    )
