"""Retention at writes: a record whose retention has ended is only erased, never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from serving.errors import RetentionEnded
from serving.gallery import Gallery, Kind, Operation, Person, Snapshot
from serving.gallery.retention import end_of, text_of
from serving.gallery.version import Version
from serving.gallery.writer import Precondition

_CHANGES = (Kind.PUT, Kind.APPEND, Kind.DESCRIBE, Kind.MERGE, Kind.DISTINCT)


def check(gallery: Gallery, operations: Sequence[Operation]) -> None:
    """Raise RetentionEnded when the operations would change a record whose retention has ended.

    Else the maintenance could erase what was changed at the same moment, and new photos under such
    an id would go with the old ones. Asks the store only when the people in memory have one.

    Raises:
        Unavailable: the store is away.
    """
    if _ended(gallery.snapshot, operations, gallery.now()):
        _refuse(gallery.refresh(), operations, gallery.now())  # it may have been erased


def commit(
    gallery: Gallery,
    operations: Sequence[Operation],
    require: Sequence[int],
    precondition: Precondition | None = None,
) -> Version:
    """`serving.gallery.Gallery.commit`, of no record whose retention has ended.

    An enrolment, which requires nobody, is checked against the people in memory alone: it must not
    wait for the store.
    """

    def refuse(people: Snapshot, earlier: Sequence[Operation]) -> None:
        _refuse(people, operations, gallery.now())
        if precondition is not None:
            precondition(people, earlier)

    if require or precondition is not None:
        return gallery.commit(operations, require, refuse)
    check(gallery, operations)
    return gallery.commit(operations)


def _refuse(people: Snapshot, operations: Sequence[Operation], now: float) -> None:
    for person in _ended(people, operations, now):
        raise _ended_error(person.id, person.end)


class HasEnd(Exception):
    """The person has an end of the retention already."""


def without_end(person: int) -> Precondition:
    """Raises HasEnd where the person has an end, or another caller has given one just now."""

    def check(people: Snapshot, earlier: Sequence[Operation]) -> None:
        known = people.get(person)
        end = None if known is None else known.expires_at
        for operation in earlier:
            if operation.kind is Kind.CLEAR:
                end = None
            elif operation.id == person:
                gone = operation.kind is Kind.DELETE
                end = None if gone else operation.details.get("expires_at", end)
        if end is not None:
            raise HasEnd

    return check


def commit_with_end(gallery: Gallery, operation: Operation, end: str) -> Version:
    """`commit` of an enrolment, with this ``expires_at`` for a person who has none."""
    ending = replace(operation, details={**operation.details, "expires_at": end})
    try:
        return commit(gallery, [ending], (), without_end(operation.id))
    except HasEnd:
        return commit(gallery, [operation], ())


def refuse_ended(details: Mapping[int, Mapping[str, Any]], now: float) -> None:
    """Raise RetentionEnded when the retention of one of these people, by id, has ended at ``now``,
    in seconds since 1970."""
    for person, known in details.items():
        if (end := end_of(known)) <= now:
            raise _ended_error(person, end)


def _ended_error(person: int, end: float) -> RetentionEnded:
    return RetentionEnded(
        f"The retention of {person} ended at {text_of(end)}: erase the record before the id is "
        "used again."
    )


def _ended(people: Snapshot, operations: Sequence[Operation], now: float) -> list[Person]:
    """The people whom the operations would change, and whose retention has ended."""
    ids = {i for o in operations if o.kind in _CHANGES for i in (o.id, *o.sources)}
    known = people.people(ids).values() if ids and people.at(now) is not people else ()
    return [person for person in known if person.end <= now]
