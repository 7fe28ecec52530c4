"""Search: the nearest people of a gallery for the probes of photos."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from serving.gallery import Snapshot
from serving.matching.records import Candidate, Matches

log = logging.getLogger(__name__)


def nearest(snapshot: Snapshot, photos: Sequence[NDArray[np.float32]], top_k: int) -> list[Matches]:
    """Candidates for each probe of each photo, all in one search.

    Args:
        photos: the probes of each photo, float32 (F, D), unit length.
    """
    hits = snapshot.search(np.concatenate(photos), top_k)
    rows = zip(hits.ids.tolist(), hits.names, hits.similarities.tolist(), strict=True)
    candidates = iter([tuple(Candidate(*one) for one in zip(*row, strict=True)) for row in rows])
    return [
        Matches(
            candidates=tuple(islice(candidates, len(probes))),
            gallery_version=snapshot.version,
            people=len(snapshot),
        )
        for probes in photos
    ]
