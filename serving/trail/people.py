"""Pseudonyms of people in the audit's records, and the ids behind them, which an erasure removes.

A pseudonym is random: the id behind it is in the key of one small object, and nowhere else. Each
chain takes new pseudonyms every day (UTC).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from serving.gallery.store import Entry, Store
from serving.trail.places import Places

# (collection, id)
Person = tuple[str, int]

_PARALLEL_PUTS = 8
# People whose objects one process remembers to have written, at 200 bytes each.
_REMEMBERED = 100_000
# After an erasure, other replicas may still write what they had in memory.
LATE_S = 3600.0


class Pseudonyms:
    """The pseudonyms that one chain gives; for one thread.

    An object is written once for each person and day, before the first record with the pseudonym,
    and never again: what an erasure has removed does not come back for older records.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._day = ""
        self._secret = b""
        self._written: set[Person] = set()
        self._pool = ThreadPoolExecutor(_PARALLEL_PUTS, thread_name_prefix="audit-people")

    def of(self, day: str, people: Iterable[Person]) -> Mapping[Person, str]:
        """The pseudonyms of these people, whose ids are in the bucket from now on.

        Raises:
            Unavailable: the store is away; nothing was given.
        """
        if day != self._day or len(self._written) > _REMEMBERED:
            self._day, self._secret = day, secrets.token_bytes(32)
            self._written.clear()
        wanted = set(people)
        given = {person: self._pseudonym(person) for person in wanted}
        new = wanted - self._written
        # All results are awaited: an error must come out here.
        for _ in self._pool.map(lambda p: self._put(p, given[p]), sorted(new)):
            pass
        self._written |= new
        return given

    def close(self) -> None:
        self._pool.shutdown(wait=False)

    def _put(self, person: Person, pseudonym: str) -> None:
        key = f"{self._places.people_of(*person)}{self._day}.{pseudonym}"
        self._places.people.put(key, b"{}")

    def _pseudonym(self, person: Person) -> str:
        text = f"{person[0]}/{person[1]}".encode()
        return f"p-{hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:32]}"


@dataclass(frozen=True)
class Name:
    """One pseudonym, and who it is.

    Attributes:
        written: seconds since 1970, by the store's clock.
    """

    key: str
    collection: str
    person: int
    day: str
    pseudonym: str
    written: float

    @classmethod
    def of(cls, places: Places, entry: Entry) -> Name | None:
        """None: it is no object of ours."""
        parts = entry.key.removeprefix(places.people_of()).split("/")
        if len(parts) != 3 or not parts[1].isdecimal():
            return None
        day, _, pseudonym = parts[2].partition(".")
        return cls(entry.key, parts[0], int(parts[1]), day, pseudonym, entry.modified)


def names(
    places: Places, collection: str | None = None, person: int | None = None
) -> Iterator[Name]:
    """All pseudonyms whose people were not erased; of one collection or one person of it."""
    erased = marks(places)
    for entry in places.people.list(places.people_of(collection, person)):
        name = Name.of(places, entry)
        if name is not None and not is_late(name, erased):
            yield name


def marks(places: Places) -> dict[Person, Entry]:
    """The marks of erasures."""
    found: dict[Person, Entry] = {}
    for entry in places.people.list(places.erased_of()):
        collection, _, person = entry.key.removeprefix(places.erased_of()).partition("/")
        if person.isdecimal():
            found[collection, int(person)] = entry
    return found


def is_late(name: Name, erased: Mapping[Person, Entry]) -> bool:
    """Whether it belongs to an erased person: written before the erasure, or by a replica that
    still had a record of before. Who is enrolled anew within that hour is a pseudonym, too."""
    mark = erased.get((name.collection, name.person))
    return mark is not None and name.written <= mark.modified + LATE_S


def forget(places: Places, collection: str, person: int) -> int:
    """Remove the id behind every pseudonym of a person: in later searches the records name the
    pseudonyms alone. Returns how many there were.

    Raises:
        Unavailable: the store is away; it may be done in part, and can be done again.
    """
    places.people.put(places.erased_of(collection, person), b"{}")
    return _remove(places.people, places.people_of(collection, person))


def _remove(store: Store, prefix: str) -> int:
    entries = list(store.list(prefix))
    for entry in entries:
        store.purge(entry.key)
    return len(entries)
