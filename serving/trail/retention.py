"""Retention of the audit: removes records, and the ids behind their pseudonyms, when they are old.

Also ids that came late: written after the erasure of their person, by a replica that had not heard
of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from serving.trail import people
from serving.trail.people import LATE_S, Name
from serving.trail.places import Places, day_of
from serving.trail.reading import Expired, expired_before

_DAY_S = 86_400
# How long it is known who was erased: what comes late has come by then.
_MARK_S = 24 * LATE_S


@dataclass(frozen=True)
class Removed:
    """What was removed, or would be.

    Attributes:
        before: records older than this day (UTC).
    """

    before: str | None
    objects: int
    people: int


def expire(
    places: Places,
    days: int | None,
    *,
    dry_run: bool = False,
    clock: Callable[[], float] = time.time,
) -> Removed:
    """Remove what is older than so many days, in whole days; None: only the ids that came late.

    Raises:
        StoreUnfit: a lock forbids it.
    """
    now = clock()
    # One day more: the last object of a day may be locked until the end of its last day.
    before = None if days is None else day_of(now - (days + 1) * _DAY_S)
    if before is not None:  # a longer retention than before does not bring anything back
        before = max(before, expired_before(places) or before)
    objects = [] if before is None else _records(places, before)
    if before is not None and objects and not dry_run:
        # First: what is missing from now on is no gap.
        places.records.put(places.expired, Expired(before=before).model_dump_json().encode())
    marks = people.marks(places)
    ids = []
    for entry in places.people.list(places.people_of()):
        name = Name.of(places, entry)
        if name is not None and ((before and name.day < before) or people.is_late(name, marks)):
            ids.append(entry.key)
    old = [entry.key for entry in marks.values() if entry.modified < now - _MARK_S]
    if not dry_run:
        for key in objects:
            places.records.purge(key)
        for key in (*ids, *old):
            places.people.purge(key)
    return Removed(before, len(objects), len(ids))


def _records(places: Places, before: str) -> list[str]:
    found = []
    for entry in places.records.list(places.records_of()):
        place = places.place(entry.key)
        if place is not None and place.day < before:
            found.append(entry.key)
    return found
