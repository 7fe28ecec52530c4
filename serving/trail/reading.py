"""Reading the audit: objects in parallel and in order, search with the ids of people, the check of
all chains."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

from serving.errors import InvalidInput
from serving.gallery.formats import Stored, read_json
from serving.gallery.store import NotFound, Store
from serving.reading.spelling import nearest, shown
from serving.trail import people
from serving.trail.chain import ChainReport, Head, decode, verify
from serving.trail.places import Place, Places
from serving.trail.records import ACTIONS, Record, renamed, values_in

_PARALLEL_GETS = 8
# A record is written after its end, and days after it when the store was away.
LATE_DAYS = 7


class Expired(Stored):
    """What retention has removed: all that is older than this day."""

    format: Literal["faces-audit-expired/1"] = "faces-audit-expired/1"
    before: str


@dataclass(frozen=True)
class Query:
    """What to search for; None: any.

    Attributes:
        since, until: UTC, as RFC 3339 or as the begin of it; ``until`` is not included.
        person: an id that is in the record, in any place.
        input: the keyed hash of a photo.

    Raises:
        InvalidInput: no record can match: there is no such action, or no time between the two. An
            empty answer would be taken for "nobody did it".
    """

    since: str | None = None
    until: str | None = None
    collection: str | None = None
    person: int | None = None
    key: str | None = None
    action: str | None = None
    request_id: str | None = None
    input: str | None = None

    def __post_init__(self) -> None:
        if self.action is not None and self.action not in ACTIONS:
            near = nearest(self.action, ACTIONS)
            known = f"there are {', '.join(ACTIONS)}." if near is None else f"did you mean {near}?"
            raise InvalidInput(f"{shown(self.action)} is no action of the audit; {known}")
        if self.since and self.until and self.until <= self.since:
            raise InvalidInput(f"until ({self.until}) has to be later than since ({self.since}).")

    def takes_day(self, day: str) -> bool:
        """Whether the records of an object of that day may match."""
        if self.until is not None:
            last = date.fromisoformat(self.until[:10]) + timedelta(days=LATE_DAYS)
            if day > last.isoformat():
                return False
        return self.since is None or day >= self.since[:10]

    def takes(self, record: Record) -> bool:
        """Whether a record matches, whose people are named by their ids."""
        ended = str(record.get("ended", ""))
        return (
            (self.since is None or ended >= self.since)
            and (self.until is None or ended < self.until)
            and self.collection in (None, record.get("collection"))
            and self.key in (None, record.get("key"))
            and self.action in (None, record.get("action"))
            and self.request_id in (None, record.get("request_id"))
            and (self.person is None or self.person in values_in(record, "id", "ids"))
            and (self.input is None or self.input in values_in(record, "input", "inputs"))
        )


def search(places: Places, query: Query) -> Iterator[Record]:
    """The records that match, by the days they were written on; people by their ids, and who was
    erased by a pseudonym.

    Raises:
        GalleryCorrupt: an object is damaged; Unavailable: the store is away.
    """
    found = people.names(places, query.collection)
    ids = {name.pseudonym: name.person for name in found if query.takes_day(name.day)}
    listed = [place for place in _listed(places) if query.takes_day(place.day)]
    for place, data in read_all(places.records, places, sorted(listed)):
        for record in decode(places.record(place), data)[1]:
            named = renamed(record, lambda pseudonym: ids.get(pseudonym, pseudonym))
            if query.takes(named):
                yield named


def check(
    places: Places, known: Mapping[str, Head] | None = None
) -> tuple[list[ChainReport], str | None]:
    """Check every chain, and that none of the ``known`` ones has lost an object.

    Returns:
        A report for each chain, and the day before which retention has removed all.
    """
    known = known or {}
    expired = expired_before(places)
    chains: dict[str, list[Place]] = {chain: [] for chain in known}
    for place in _listed(places):
        chains.setdefault(place.chain, []).append(place)
    reports = []
    for chain, its in sorted(chains.items()):
        its.sort(key=lambda place: (place.number, place.day))
        objects = read_all(places.records, places, its)
        reports.append(verify(chain, objects, expired, known.get(chain)))
    return reports, expired


def expired_before(places: Places) -> str | None:
    """The day before which retention has removed all; None: it has removed nothing."""
    try:
        data = places.records.get(places.expired).data
    except NotFound:
        return None
    return read_json(places.expired, data, Expired).before


def read_all(
    store: Store, places: Places, listed: Iterable[Place]
) -> Iterator[tuple[Place, bytes]]:
    """The objects in this order, a few read ahead. One that is gone by now is left out."""
    waiting: deque[tuple[Place, Future[bytes | None]]] = deque()
    order = iter(listed)

    def read(place: Place) -> bytes | None:
        try:
            return store.get(places.record(place)).data
        except NotFound:
            return None

    with ThreadPoolExecutor(_PARALLEL_GETS) as pool:
        while True:
            for place in itertools.islice(order, 2 * _PARALLEL_GETS - len(waiting)):
                waiting.append((place, pool.submit(read, place)))
            if not waiting:
                return
            place, future = waiting.popleft()
            data = future.result()
            if data is not None:
                yield place, data


def _listed(places: Places) -> Iterator[Place]:
    for entry in places.records.list(places.records_of()):
        place = places.place(entry.key)
        if place is not None:
            yield place


def names_anybody(record: Record, people: Container[Any]) -> bool:
    """Whether one of these ids or pseudonyms is in the record, in any place."""
    return any(value in people for value in values_in(record, "id", "ids"))
