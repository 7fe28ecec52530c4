"""Enrolling a person: conflicts, the commit, and what the gallery then holds."""

from __future__ import annotations

from collections.abc import Sequence

from serving.errors import Unavailable
from serving.gallery import Gallery, Kind, Operation, Snapshot
from serving.matching import conflicts
from serving.matching.conflicts import Conflicting
from serving.matching.records import (
    Enrolled,
    Enrolment,
    Refused,
)
from serving.matching.search import log
from serving.settings import MatchSettings


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

    def refuse_conflicts(people: Snapshot, earlier: Sequence[Operation]) -> None:
        if found := conflicts.before(people, earlier, person, matching):
            raise Conflicting(found)

    try:
        version = gallery.commit(
            [operation], precondition=refuse_conflicts if person.refuse else None
        )
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
