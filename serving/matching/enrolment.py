"""Enrolment of a person: the check for conflicts, the commit, and reading it back."""

from __future__ import annotations

from collections.abc import Sequence

from serving.errors import Unavailable
from serving.gallery import Gallery, Kind, Operation, Snapshot
from serving.matching import conflicts, quota, retention
from serving.matching.conflicts import Conflicting
from serving.matching.records import Enrolled, Enrolment, Refused
from serving.matching.search import log
from serving.settings import MatchSettings


def enrol(gallery: Gallery, person: Enrolment, matching: MatchSettings) -> Enrolled | Refused:
    """Commit the enrolment, and return what the gallery then holds of the person.

    Checking for conflicts costs no request to the store: it uses the snapshot that is read back
    after the commit. So of two simultaneous enrolments of one face, the later reports the earlier.
    To refuse conflicts, it uses the version that the commit replaces.

    Raises:
        CollectionFull: a new person, and the collection has as many as it may.
        RetentionEnded: the id is that of a record that is to be erased.
    """
    operation = Operation(
        kind=Kind.APPEND if person.append else Kind.PUT,
        id=person.id,
        time=gallery.now(),
        embeddings=person.embeddings,
        details={**({} if person.name is None else {"name": person.name}), **person.retention},
    )
    retention.check(gallery, [operation])
    quota.check(gallery, [operation], matching.max_people)
    known = gallery.snapshot

    def refuse_conflicts(people: Snapshot, earlier: Sequence[Operation]) -> None:
        if reasons := conflicts.before(people.at(gallery.now()), earlier, person, matching):
            raise Conflicting(reasons)

    try:
        version = gallery.commit(
            [operation], precondition=refuse_conflicts if person.refuse else None
        )
    except Conflicting as conflicting:
        return Refused(conflicting.conflicts)
    try:
        people = gallery.refresh(at_least=version)
    except Unavailable as error:
        # The commit stays: a failure to read it back must not look like a failure to write.
        log.warning("enrolled in version %d, but cannot read it back: %s", version, error)
        return Enrolled(person.name, None, version, () if person.refuse else None)
    named = people.at(gallery.now())
    reported = () if person.refuse else conflicts.after(named, known, person, matching)
    enrolled = people.get(person.id)
    if enrolled is None:  # deleted by another caller since
        return Enrolled(person.name, None, version, reported)
    return Enrolled(enrolled.name, enrolled.photos, version, reported, enrolled.expires_at)
