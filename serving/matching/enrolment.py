"""Enrolment of a person: the check for conflicts, the commit, and reading it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from serving.errors import Unavailable
from serving.gallery import Gallery, Kind, Operation, Snapshot
from serving.gallery.records import photo_id
from serving.gallery.segment import STORED
from serving.gallery.writer import Precondition
from serving.matching import conflicts, quota, retention
from serving.matching.conflicts import Conflicting
from serving.matching.records import Enrolled, Enrolment, Refused
from serving.matching.search import log
from serving.settings import MatchSettings


def enrol(
    gallery: Gallery,
    person: Enrolment,
    matching: MatchSettings,
    precondition: Precondition | None = None,
) -> Enrolled | Refused:
    """Commit the enrolment, and return what the gallery then holds of the person.

    Checking for conflicts costs no request to the store: it uses the snapshot that is read back
    after the commit. So of two simultaneous enrolments of one face, the later reports the earlier.
    To refuse conflicts, it uses the version that the commit replaces.

    Args:
        precondition: see `serving.gallery.Gallery.commit`.

    Raises:
        CollectionFull: a new person, and the collection has as many as it may.
        RetentionEnded: the id is that of a record that is to be erased.
    """
    if person.default_end is not None:
        try:
            ending = {"expires_at": person.default_end, **person.retention}
            return _enrol(gallery, person, matching, ending, precondition, only_without_end=True)
        except retention.HasEnd:
            pass  # that one stays
    return _enrol(gallery, person, matching, person.retention, precondition)


def _enrol(
    gallery: Gallery,
    person: Enrolment,
    matching: MatchSettings,
    ending: Mapping[str, Any],
    precondition: Precondition | None,
    *,
    only_without_end: bool = False,
) -> Enrolled | Refused:
    """`enrol`, with these details of the retention.

    Raises:
        HasEnd: with ``only_without_end``; nothing was written.
    """
    operation = Operation(
        kind=Kind.APPEND if person.append else Kind.PUT,
        id=person.id,
        time=gallery.now(),
        embeddings=person.embeddings,
        details={**({} if person.name is None else {"name": person.name}), **ending},
    )
    retention.check(gallery, [operation])
    quota.check(gallery, [operation], matching.max_people)
    known = gallery.snapshot

    def check(people: Snapshot, earlier: Sequence[Operation]) -> None:
        if only_without_end:
            retention.without_end(person.id)(people, earlier)
        if precondition is not None:
            precondition(people, earlier)
        if not person.refuse:
            return
        if reasons := conflicts.before(people.at(gallery.now()), earlier, person, matching):
            raise Conflicting(reasons)

    try:
        version = gallery.commit(
            [operation],
            precondition=check if person.refuse or only_without_end or precondition else None,
        )
    except Conflicting as conflicting:
        return Refused(conflicting.conflicts)
    ids = tuple(photo_id(row.tobytes()) for row in person.embeddings.astype(STORED))
    made = Enrolled(person.name, None, version, () if person.refuse else None, None, person.id, ids)
    try:
        people = gallery.refresh(at_least=version)
    except Unavailable as error:
        # The commit stays: a failure to read it back must not look like a failure to write.
        log.warning("enrolled in version %d, but cannot read it back: %s", version, error)
        return made
    named = people.at(gallery.now())
    reported = () if person.refuse else conflicts.after(named, known, person, matching)
    enrolled = people.get(person.id)
    if enrolled is None:  # deleted by another caller since
        return replace(made, conflicts=reported)
    return replace(
        made,
        name=enrolled.name,
        photos=enrolled.photos,
        conflicts=reported,
        expires_at=enrolled.expires_at,
    )
