"""Subjects: people who are meant by their name, and not by their id.

A subject is the name of exactly one person, or `id:N` for the person N who has none. Where several
people have the name, all of them are the subject for reading, and no change says whom it means.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from serving.errors import AmbiguousName, BadRequest, CommitConflict, UnknownIdentity
from serving.gallery import Gallery, Kind, Operation, Person, Snapshot
from serving.gallery.writer import Precondition
from serving.matching import retention
from serving.matching.enrolment import enrol
from serving.matching.records import Enrolled, Enrolment, Refused
from serving.settings import MAX_ID, MatchSettings

# Each fails only where another caller has just changed who has the name or the id.
_TRIES = 20
_FASTER = "Others changed the same people each time; nothing was written, try again."
_UNNAMED = re.compile(r"id:(0|[1-9][0-9]{0,18})")


@dataclass(frozen=True)
class Renamed:
    """The person who has the new name now, and who was merged into that person for it."""

    person: int
    merged: int | None
    gallery_version: int


class _Changed(Exception):
    """Another caller was faster: the name or the id is somebody else's now."""


def subject_of(person: int, name: str | None) -> str:
    return f"id:{person}" if name is None else name


def is_of_unnamed(subject: str) -> bool:
    """Whether a subject is written as that of somebody without a name."""
    return _UNNAMED.fullmatch(subject) is not None


def people_of(people: Snapshot, subject: str) -> list[Person]:
    """Whom the subject means, in the order of the ids; also whose retention has ended."""
    found = people.named(subject)
    match = _UNNAMED.fullmatch(subject)
    if match is not None and (number := int(match[1])) <= MAX_ID:
        person = people.get(number)
        if person is not None and person.name is None:
            found = sorted([*found, person], key=lambda p: p.id)
    return found


def one_of(people: Sequence[Person], subject: str) -> Person | None:
    """The only one of them; None: there is nobody. Raises AmbiguousName."""
    if len(people) > 1:
        ids = ", ".join(str(person.id) for person in people[:5])
        raise AmbiguousName(
            f"Several people are called {subject}: {ids}. Change them by their ids, or give them "
            "different names."
        )
    return people[0] if people else None


def enrol_subject(
    gallery: Gallery, enrolment: Enrolment, matching: MatchSettings
) -> Enrolled | Refused:
    """`enrol` for the person with the name of the enrolment; under an id of its own where nobody
    has the name.

    That nobody else gets the name or the id at the same moment is checked by the commit itself.

    Raises:
        AmbiguousName: several people have the name.
        BadRequest: it is written as that of somebody without a name, who is not enrolled.
        CommitConflict: other callers were faster each time; nothing was written.
    """
    subject = enrolment.name or ""
    for _ in range(_TRIES):
        known = one_of(people_of(gallery.refresh(), subject), subject)
        if known is None and is_of_unnamed(subject):
            raise BadRequest(f"Nobody is {subject}, and nobody can be called so.")
        if known is None:
            person, name = gallery.new_id(), subject
            check = _both(_nobody(subject), _free(person))
        else:  # a name that is known stays
            person, name = known.id, None
            check = _only(subject, person)
        wanted = replace(enrolment, id=person, name=name, append=True)
        try:
            return enrol(gallery, wanted, matching, check)
        except _Changed:
            continue
    raise CommitConflict(_FASTER)


def rename(gallery: Gallery, subject: str, new: str) -> Renamed:
    """Give a subject another name; where somebody has that name, merge the two into that person.

    Raises:
        UnknownIdentity: there is no such subject.
        AmbiguousName: several people have one of the names.
        BadRequest: the new name is written as that of somebody without a name.
        RetentionEnded: of one of the two.
        CommitConflict: other callers were faster each time; nothing was written.
    """
    for _ in range(_TRIES):
        people = gallery.refresh()
        person = one_of(people_of(people, subject), subject)
        if person is None:
            raise UnknownIdentity(f"Nobody is called {subject}.")
        target = one_of(people_of(people, new), new)
        if target is not None and target.id == person.id:
            return Renamed(person.id, None, people.version)
        if target is None and is_of_unnamed(new):
            raise BadRequest(f"Nobody is {new}, and nobody can be called so.")
        now, is_source = gallery.now(), _only(subject, person.id)
        if target is None:
            operation = Operation(Kind.DESCRIBE, person.id, now, details={"name": new})
            required, check = [person.id], _both(is_source, _nobody(new))
        else:
            operation = Operation(Kind.MERGE, target.id, now, sources=(person.id,))
            required, check = [target.id, person.id], _both(is_source, _only(new, target.id))
        try:
            version = retention.commit(gallery, [operation], required, check)
        except _Changed:
            continue
        if target is None:
            return Renamed(person.id, None, version)
        return Renamed(target.id, person.id, version)
    raise CommitConflict(_FASTER)


def _both(one: Precondition, other: Precondition) -> Precondition:
    def check(people: Snapshot, earlier: Sequence[Operation]) -> None:
        one(people, earlier)
        other(people, earlier)

    return check


def _only(subject: str, person: int) -> Precondition:
    """The subject is this person, and nobody else; or _Changed is raised."""

    def check(people: Snapshot, earlier: Sequence[Operation]) -> None:
        if [known.id for known in people_of(people, subject)] != [person]:
            raise _Changed
        if any(o.kind is not Kind.APPEND and _concerns(o, person) for o in earlier):
            raise _Changed
        if any(o.details.get("name") == subject for o in earlier):
            raise _Changed

    return check


def _nobody(subject: str) -> Precondition:
    """Nobody is this subject; or _Changed is raised."""

    def check(people: Snapshot, earlier: Sequence[Operation]) -> None:
        if people_of(people, subject) or any(o.details.get("name") == subject for o in earlier):
            raise _Changed

    return check


def _free(person: int) -> Precondition:
    """Nobody has this id; or _Changed is raised."""

    def check(people: Snapshot, earlier: Sequence[Operation]) -> None:
        if person in people or any(_concerns(o, person) for o in earlier):
            raise _Changed

    return check


def _concerns(operation: Operation, person: int) -> bool:
    return operation.kind is Kind.CLEAR or person in (operation.id, *operation.sources)
