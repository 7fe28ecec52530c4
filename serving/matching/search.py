"""Search: the nearest people of a gallery for the probes of photos."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from serving.gallery import Snapshot
from serving.matching.records import Candidate, Matches

log = logging.getLogger(__name__)


def nearest(
    snapshot: Snapshot, photos: Sequence[NDArray[np.float32]], top_k: int, now: float
) -> list[Matches]:
    """Candidates for each probe of each photo, all in one search.

    Args:
        now: seconds since 1970; whose retention has ended by then is no candidate.
        photos: the probes of each photo, float32 (F, D), unit length.
    """
    people = snapshot.at(now)
    together = np.concatenate(photos)
    hits = people.search(together, top_k)
    rows = zip(hits.ids.tolist(), hits.names, hits.similarities.tolist(), strict=True)
    found = [tuple(Candidate(*one) for one in zip(*row, strict=True)) for row in rows]
    if people.distinct:
        found = [_with_rivals(people, *one) for one in zip(together, found, strict=True)]
    candidates = iter(found)
    return [
        Matches(
            candidates=tuple(islice(candidates, len(probes))),
            gallery_version=people.version,
            people=len(people),
        )
        for probes in photos
    ]


def _with_rivals(
    people: Snapshot, probe: NDArray[np.float32], candidates: tuple[Candidate, ...]
) -> tuple[Candidate, ...]:
    if not candidates or not (pairs := people.distinct.of(candidates[0].id)):
        return candidates
    cosines = people.similarities(probe, pairs)
    rivals = tuple((cosine, pairs[other]) for other, cosine in cosines.items())
    return replace(candidates[0], rivals=rivals), *candidates[1:]
