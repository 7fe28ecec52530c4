"""What a matcher does with a gallery: find the nearest people, enrol, and compare people."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from serving import deadline
from serving.errors import Unavailable
from serving.gallery import Gallery, Kind, Operation, Snapshot, duplicates
from serving.matching import conflicts
from serving.matching.conflicts import Conflicting
from serving.matching.records import (
    Candidate,
    DuplicatesPage,
    Enrolled,
    Enrolment,
    Matches,
    Refused,
)
from serving.matching.threshold import threshold_of
from serving.model.card import ModelCard
from serving.settings import MatchSettings

log = logging.getLogger(__name__)

# Comparisons of two people in one look for duplicates: some seconds of one core.
_COMPARISONS = 1_000_000_000
_LEAST_COMPARED = 100


def nearest(snapshot: Snapshot, photos: Sequence[NDArray[np.float32]], top_k: int) -> list[Matches]:
    """Candidates for each probe of each photo, float32 (F, D), unit length; in one search."""
    hits = snapshot.search(np.concatenate(photos), top_k)
    rows = zip(hits.ids.tolist(), hits.names, hits.similarities.tolist(), strict=True)
    found = iter([tuple(Candidate(*one) for one in zip(*row, strict=True)) for row in rows])
    return [
        Matches(
            candidates=tuple(islice(found, len(probes))),
            gallery_version=snapshot.version,
            people=len(snapshot),
        )
        for probes in photos
    ]


def enrol(gallery: Gallery, person: Enrolment, matching: MatchSettings) -> Enrolled | Refused:
    """Commit the enrolment and say what the gallery holds of the person then.

    Conflicts cost no request to the store. They are looked for in what is read back after the
    commit: who enrols the same face at the same time and is the later one learns of the earlier.
    To refuse, they are looked for in the version that the commit replaces.
    """
    operation = Operation(
        kind=Kind.APPEND if person.append else Kind.PUT,
        id=person.id,
        time=gallery.now(),
        embeddings=person.embeddings,
        details={} if person.name is None else {"name": person.name},
    )
    known = gallery.snapshot

    def check(people: Snapshot, earlier: Sequence[Operation]) -> None:
        if found := conflicts.before(people, earlier, person, matching):
            raise Conflicting(found)

    try:
        version = gallery.commit([operation], check=check if person.refuse else None)
    except Conflicting as conflicting:
        return Refused(conflicting.conflicts)
    try:
        people = gallery.refresh(at_least=version)
    except Unavailable as error:
        # What was committed stays: a failure to read it back must not look like one to write.
        log.warning("enrolled in version %d, but cannot read it back: %s", version, error)
        return Enrolled(person.name, None, version, () if person.refuse else None)
    found = () if person.refuse else conflicts.after(people, known, person, matching)
    enrolled = people.get(person.id)
    if enrolled is None:  # deleted by somebody else since
        return Enrolled(person.name, None, version, found)
    return Enrolled(enrolled.name, enrolled.photos, version, found)


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
