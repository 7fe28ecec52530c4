"""Undo: the photos that a correction or a merge has moved go back to whom they were of.

Reads the versions before and after it, as long as their segments are in the bucket. Photos that
were added or removed since stay so, and so do names that were changed since.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidInput, NotUndoable
from serving.gallery.contents import Contents
from serving.gallery.manifest import Manifest
from serving.gallery.ownership import Owners
from serving.gallery.records import Record, Records, read, read_now, take
from serving.gallery.restore import as_of, histories
from serving.gallery.retention import merged
from serving.gallery.segment import STORED, Kind
from serving.gallery.store import NotFound

K = TypeVar("K")
V = TypeVar("V")

_GONE = (
    "{} is in no version of the gallery that is kept: versions go with the sweeps of the "
    "maintenance. Move the photos."
)


@dataclass(frozen=True)
class Change:
    """A commit that moved photos between ``people``.

    Attributes:
        back: whose photos go back to them.
        target: the person of a merge; None: it was none.
        others: who were merged into ``target``, too, and are to stay so.
    """

    version: int
    people: frozenset[int]
    back: frozenset[int]
    target: int | None = None
    others: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Undone:
    """The people as they are now, and as they are to be; see `serving.gallery.corrections`."""

    change: Change
    before: Records
    after: Records


def last_change(
    contents: Contents, now: Manifest, person: int, version: int | None = None
) -> Change:
    """The newest commit that moved photos from or to this person, or that of a version.

    Raises:
        NotUndoable: there is none in the versions that are kept.
    """
    for found, owners in _commits(contents, now, version):
        people = _together(owners, person)
        if people:
            return Change(found, people, people)
    what = "A correction of this person" if version is None else f"Version {version}"
    raise NotUndoable(_GONE.format(what))


def last_merge(
    contents: Contents, now: Manifest, person: int, sources: Collection[int] = ()
) -> Change:
    """The newest merge into this person, of all of ``sources``.

    Raises:
        NotUndoable: there is none in the versions that are kept.
    """
    for version, owners in _commits(contents, now):
        for n, merged_in in owners.sources.items():
            found = owners.kind[n] == Kind.MERGE and owners.id[n] == person
            if found and set(sources).issubset(merged_in):
                all_of_them = frozenset({person, *merged_in})
                if not sources:
                    return Change(version, all_of_them, all_of_them, person)
                people, back = frozenset({person, *sources}), frozenset(sources)
                return Change(version, people, back, person, all_of_them - people)
    who = f" of {', '.join(map(str, sources))}" if sources else ""
    raise NotUndoable(_GONE.format(f"A merge{who} into {person}"))


def undone(contents: Contents, manifest: Manifest, change: Change, now: float) -> Undone:
    """The people without this change.

    Args:
        manifest: that the commit is to replace.
        now: seconds since 1970.

    Raises:
        NotUndoable: its versions are not kept, one of the people is another one now, or nothing of
            it is left.
        PreconditionFailed: there is a newer manifest.
    """
    try:
        old = as_of(contents.gallery, change.version - 1, manifest)
        new = as_of(contents.gallery, change.version, manifest)
        before = read(contents, old, change.people | change.others)
        after = read(contents, new, change.people)
    except (InvalidInput, NotFound):
        raise NotUndoable(_GONE.format(f"Version {change.version}")) from None
    present = read_now(contents, manifest, change.people | change.others)
    # Who was taken out before is not merged any more.
    change = dataclasses.replace(change, others=change.others - present.keys())
    current = {person: each for person, each in present.items() if person in change.people}
    for person, record in current.items():
        # A merge and an un-merge take the time of enrolment of one; an enrolment has its own.
        times = {r.created for p in (before, after) for r in p.values()}
        if person not in after or record.created not in times:
            raise NotUndoable(
                f"{person} was merged or enrolled anew since; undo that before, or move the photos."
            )
    result = _put_back(change, before, after, current, now)
    if all(_photos(result, person) == _photos(current, person) for person in change.people):
        raise NotUndoable("Nothing of it is left to be undone: the photos are elsewhere or gone.")
    return Undone(change, current, result)


def _commits(
    contents: Contents, now: Manifest, version: int | None = None
) -> Iterator[tuple[int, Owners]]:
    """The commits that are still in segments of their own, the newest first."""
    seen: set[str] = set()
    for segments in histories(contents.gallery, now):
        single = [
            ref
            for ref in segments
            if ref.first == ref.last and ref.name not in seen and version in (None, ref.last)
        ]
        seen.update(ref.name for ref in single)
        try:
            owners = contents.owners(single)
        except NotFound:  # swept
            return
        yield from (
            (ref.last, o) for ref, o in zip(reversed(single), reversed(owners), strict=True)
        )


def _together(owners: Owners, person: int) -> frozenset[int]:
    """With whom the person had photos moved in this commit; empty: with nobody."""
    groups = [
        {int(owners.id[n]), *sources}
        for n, sources in owners.sources.items()
        if owners.kind[n] in (Kind.MERGE, Kind.SPLIT)
    ]
    people: set[int] = set()
    more = {person}
    while more:
        people |= more
        more = set[int]().union(*(g for g in groups if g & people)) - people
    return frozenset(people) if any(person in group for group in groups) else frozenset()


def _put_back(
    change: Change, before: Records, after: Records, current: Records, now: float
) -> Records:
    left = Counter(row for record in current.values() for row in record.rows)
    back: dict[int, list[bytes]] = {}
    for person in sorted(change.back & before.keys()):
        back[person] = [row for row in before[person].rows if take(left, row)]
    gone = Counter(row for rows in back.values() for row in rows)
    result: dict[int, Record] = {}
    for person in sorted(change.people):
        record = current.get(person)
        stay = [row for row in (record.rows if record else ()) if not take(gone, row)]
        rows = back.get(person, []) + stay
        if rows:
            details = _details(change, person, before, after, current)
            distinct = _distinct(change, person, before, after, current)
            kept = [person, *change.others] if person == change.target else [person]
            times = [before[i].created for i in kept if i in before]
            created = min(times) if times else current[person].created
            new = Record(_stacked(rows), details, created, now, distinct)
            result[person] = record if record and _equal(record, new) else new
    return result


def _photos(people: Records, person: int) -> Counter[bytes]:
    return Counter(people[person].rows if person in people else ())


def _details(
    change: Change, person: int, before: Records, after: Records, current: Records
) -> Mapping[str, Any]:
    """Those from before, but for what was changed since."""
    old: Mapping[str, Any] = before[person].details if person in before else {}
    if person == change.target and change.target not in change.back:
        # Without those who go back, the others would have been merged all the same.
        each = [before[i].details for i in (person, *sorted(change.others)) if i in before]
        old = merged(each)
    elif person not in before:
        return current[person].details
    if person not in current:
        return old
    return _unless_changed(old, after[person].details, current[person].details)


def _distinct(
    change: Change, person: int, before: Records, after: Records, current: Records
) -> Mapping[int, float]:
    """The pairs from before, but for what was changed since."""
    stays = sorted(change.others) if person == change.target else []
    old = {
        other: threshold
        for one in (*stays, person)
        if one in before
        for other, threshold in before[one].distinct.items()
    }
    if person not in before:
        return current[person].distinct
    if person not in current:
        return old
    return _unless_changed(old, after[person].distinct, current[person].distinct)


def _unless_changed(old: Mapping[K, V], then: Mapping[K, V], given: Mapping[K, V]) -> dict[K, V]:
    """What was given after ``then``, and otherwise the old."""
    kept = {k: old.get(k) if given.get(k) == then.get(k) else given.get(k) for k in {*given, *old}}
    return {key: value for key, value in kept.items() if value is not None}


def _stacked(rows: Sequence[bytes]) -> NDArray[np.float16]:
    return np.frombuffer(b"".join(rows), STORED).reshape(len(rows), -1)


def _equal(one: Record, other: Record) -> bool:
    return (Counter(one.rows), _given(one), one.distinct) == (
        Counter(other.rows),
        _given(other),
        other.distinct,
    )


def _given(record: Record) -> dict[str, Any]:
    return {key: value for key, value in record.details.items() if value is not None}
