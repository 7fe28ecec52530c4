"""Pages of the audit for a caller who waits: a search, newest first, and the check of the chains.

Both read objects one after the other, and stop in time: a page says where the next one goes on.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TypeVar

from serving import deadline
from serving.errors import BadRequest, GalleryError, Overloaded
from serving.trail import people
from serving.trail.chain import ChainReport, decode, verify
from serving.trail.people import Name
from serving.trail.places import Place, Places, day_of
from serving.trail.reading import LATE_DAYS, Query, expired_before, names_anybody, read_all
from serving.trail.records import Record, pseudonyms_in, renamed

T = TypeVar("T")

# What one page of a search reads and answers at most; a record is 300 bytes, often.
_MOST_OBJECTS = 500
_MOST_READ_BYTES = 64 * 2**20
_MOST_ANSWERED_BYTES = 8 * 2**20
# A page begins no object, and no chain, after this.
_PAGE_S = 5.0
# Readers on one replica: each takes threads and memory from the requests beside it.
_AT_ONCE = 2

_CURSOR = re.compile(
    r"(\d{4}-\d\d-\d\d)\.(\d{1,15})\.(\d{1,12})\.([^/\n]{1,300})\.(\d{1,12})", re.ASCII
)
_LATEST_MS = 10**15 - 1
# Where a record is: day, time of its object (ms), number, chain, line. A later one is newer.
Position = tuple[str, int, int, str, int]


@dataclass(frozen=True)
class Page:
    """Records, newest first.

    Attributes:
        next: the cursor of the next page, which may hold records although this one has none; None:
            all was searched.
        expired_before: retention has removed what is older than this day.
        problems: objects that could not be read, in sentences.
    """

    records: Sequence[Record]
    next: str | None
    expired_before: str | None
    problems: Sequence[str] = ()


@dataclass(frozen=True)
class Chains:
    """Some of the chains, in the order of their names; ``next`` as in `Page`."""

    reports: Sequence[ChainReport]
    next: str | None
    expired_before: str | None


@dataclass
class _Budget:
    """What a page may still read and answer."""

    began: float = field(default_factory=time.monotonic)
    objects: int = field(default_factory=lambda: _MOST_OBJECTS)
    read: int = _MOST_READ_BYTES
    answered: int = _MOST_ANSWERED_BYTES

    def is_spent(self) -> bool:
        late = time.monotonic() - self.began > _PAGE_S
        return late or min(self.objects, self.read, self.answered) <= 0


def search(places: Places, query: Query, *, limit: int, cursor: str | None, today: str) -> Page:
    """A page of the records of one collection that match.

    Args:
        query: with a ``collection``, and ``since``, the oldest day to look at.
        cursor: `Page.next` of the page before.
        today: the newest day (UTC).

    Raises:
        BadRequest: the cursor is none. Unavailable: the store is away. TimedOut: the ids of the
            people could not be read before the request's deadline.
    """
    assert query.collection is not None
    assert query.since is not None
    after = None if cursor is None else _position(cursor)
    expired = expired_before(places)
    own = None if query.person is None else _names_of(places, query.collection, query.person)
    days = list(_days(query, today, after, expired))
    if own is not None:
        known = {name.day for name in own.values()}
        days = [day for day in days if day in known]
    raw = Query(**{**vars(query), "person": None})
    budget, found, problems = _Budget(), list[Record](), list[str]()
    last: Position | None = None
    for n, day in enumerate(days):
        for position, place, data in _objects(places, day, after):
            budget.objects, budget.read = budget.objects - 1, budget.read - len(data)
            try:
                records = decode(places.record(place), data)[1]
            except GalleryError as error:
                problems, records = [*problems, str(error)], []
            for line in range(len(records) - 1, -1, -1):
                here = (*position, line)
                if after is not None and here >= after:
                    continue
                record = records[line]
                if not raw.takes(record) or (own is not None and not names_anybody(record, own)):
                    continue
                if len(found) == limit:
                    return _page(places, query, found, last, expired, problems, own)
                found.append(record)
                budget.answered -= len(json.dumps(record))
                last = here
            last = (*position, 0)
            if budget.is_spent():
                return _page(places, query, found, last, expired, problems, own)
        if budget.is_spent() and n + 1 < len(days):
            begin = (days[n + 1], _LATEST_MS, 0, "-", 0)
            return _page(places, query, found, begin, expired, problems, own)
    return _page(places, query, found, None, expired, problems, own)


def check(places: Places, *, days: int, after: str | None, today: str) -> Chains:
    """Check what each chain wrote on the last days; it goes on behind the chain ``after``.

    Raises:
        Unavailable: the store is away. TimedOut: there is more than can be read before the
            request's deadline.
    """
    since = (date.fromisoformat(today) - timedelta(days=days - 1)).isoformat()
    expired = expired_before(places)
    chains: dict[str, list[Place]] = {}
    for day in _span(since, today):
        for _, place in _listed(places, day):
            if after is None or place.chain > after:
                chains.setdefault(place.chain, []).append(place)
    began, reports = time.monotonic(), list[ChainReport]()
    for chain in sorted(chains):
        if reports and time.monotonic() - began > _PAGE_S:
            return Chains(reports, reports[-1].chain, expired)
        its = sorted(chains[chain], key=lambda place: (place.number, place.day))
        objects = _in_time(read_all(places.records, places, its))
        # What came before these days is as if it were removed: it is not looked at.
        reports.append(verify(chain, objects, max(since, expired or since)))
    return Chains(reports, None, expired)


def _page(
    places: Places,
    query: Query,
    found: Sequence[Record],
    last: Position | None,
    expired: str | None,
    problems: Sequence[str],
    own: Mapping[str, Name] | None,
) -> Page:
    wanted = {pseudonym for record in found for pseudonym in pseudonyms_in(record)}
    ids = _ids(places, str(query.collection), wanted, own or {})
    records = [renamed(record, lambda name: ids.get(name, name)) for record in found]
    return Page(records, None if last is None else _text(last), expired, problems)


def _names_of(places: Places, collection: str, person: int) -> dict[str, Name]:
    """The pseudonyms of one person."""
    names = people.names(places, collection, person)
    return {name.pseudonym: name for name in _in_time(names)}


def _ids(
    places: Places, collection: str, wanted: set[str], known: Mapping[str, Name]
) -> dict[str, int]:
    """The ids behind pseudonyms, of which some are known; who was erased has none."""
    ids = {pseudonym: known[pseudonym].person for pseudonym in wanted & known.keys()}
    if len(ids) == len(wanted):
        return ids
    for name in _in_time(people.names(places, collection)):
        if name.pseudonym in wanted:
            ids[name.pseudonym] = name.person
            if len(ids) == len(wanted):
                break
    return ids


def _days(query: Query, today: str, after: Position | None, expired: str | None) -> Iterator[str]:
    """The days of objects that may hold a record of the query, newest first."""
    newest = today
    if query.until is not None:
        last = date.fromisoformat(query.until[:10]) + timedelta(days=LATE_DAYS)
        newest = min(newest, last.isoformat())
    if after is not None:
        newest = min(newest, after[0])
    oldest = max(str(query.since)[:10], expired or "")
    yield from reversed(list(_span(oldest, newest)))


def _span(first: str, last: str) -> Iterator[str]:
    day = date.fromisoformat(first)
    while day.isoformat() <= last:
        yield day.isoformat()
        day += timedelta(days=1)


def _objects(
    places: Places, day: str, after: Position | None
) -> Iterator[tuple[tuple[str, int, int, str], Place, bytes]]:
    """The objects of one day, newest first, from the one of ``after`` on."""
    at = {
        place: (day, int(modified * 1000), place.number, place.chain)
        for modified, place in _listed(places, day)
    }
    # The object of ``after`` itself is done when its first record was looked at.
    left = [p for p in at if after is None or (*at[p], 0) < after]
    order = sorted(left, key=lambda place: at[place], reverse=True)
    for place, data in _in_time(read_all(places.records, places, order)):
        yield at[place], place, data


def _listed(places: Places, day: str) -> Iterator[tuple[float, Place]]:
    """The objects of records of one day, with the time that the store has for them."""
    deadline.check()
    for entry in _in_time(places.records.list(places.records_of(day))):
        place = places.place(entry.key)
        if place is not None:
            yield entry.modified, place


def _in_time(each: Iterator[T]) -> Iterator[T]:
    """The same; raises TimedOut when the request's deadline has passed."""
    for one in each:
        deadline.check()
        yield one


def _position(cursor: str) -> Position:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise BadRequest("The cursor is none of a page of the audit; leave it out to begin.")
    day, modified, number, chain, line = found.groups()
    return day, int(modified), int(number), chain, int(line)


def _text(position: Position) -> str:
    return ".".join(map(str, position))


class Reader:
    """Reads the audit's objects for callers of the service; safe to use from several threads.

    Args:
        connect: makes the stores; called in a thread, with the first request.
    """

    def __init__(self, connect: Callable[[], Places]) -> None:
        self._connect = connect
        self._connecting = threading.Lock()
        self._places: Places | None = None
        self._free = threading.BoundedSemaphore(_AT_ONCE)

    def search(self, query: Query, *, limit: int, cursor: str | None) -> Page:
        """See `search`. Raises Overloaded: enough others are at it."""
        with self._place():
            return search(self._opened(), query, limit=limit, cursor=cursor, today=_today())

    def check(self, *, days: int, after: str | None) -> Chains:
        """See `check`. Raises Overloaded: enough others are at it."""
        with self._place():
            return check(self._opened(), days=days, after=after, today=_today())

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._free.acquire(blocking=False):
            raise Overloaded(f"{_AT_ONCE} others read the audit at the moment; try again.")
        try:
            yield
        finally:
            self._free.release()

    def _opened(self) -> Places:
        with self._connecting:
            if self._places is None:
                self._places = self._connect()
            return self._places


def _today() -> str:
    return day_of(time.time())
