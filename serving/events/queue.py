"""The queue of events in the bucket, and those that were given up.

    <bucket>/<prefix>/queue/<time>-<number>-<random>.json   events that are to be delivered
    <bucket>/<prefix>/dead/<time>-<event>.json              one that was given up

Each object is written once, and removed when all of its events are delivered or given up. Both are
where the gallery is.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from serving.errors import GalleryCorrupt
from serving.events.event import Event
from serving.gallery.formats import Stored, read_json
from serving.gallery.store import NotFound, Store

NEEDS = "events need to get, put and list objects, and to delete them and their versions"
# Events in one object: as many are delivered again after a process was killed.
BATCH = 100


class Queued(Stored):
    """Events that were written together; ``queued`` is in seconds since 1970."""

    format: Literal["faces-events/1"] = "faces-events/1"
    queued: float
    events: tuple[dict[str, Any], ...]


class Dead(Stored):
    """An event that was given up.

    Attributes:
        queued, buried: seconds since 1970.
        tries: deliveries that failed, since the process that gave it up had begun.
        problem: of the last one.
    """

    format: Literal["faces-dead-event/1"] = "faces-dead-event/1"
    event: dict[str, Any]
    queued: float
    buried: float
    tries: int
    problem: str


class Queue:
    """Safe to use from several threads and processes.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, store: Store, prefix: str, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self.prefix = prefix
        self._clock = clock
        self._numbers = itertools.count()

    @property
    def _folder(self) -> str:
        return f"{self.prefix}/queue/"

    @property
    def _graves(self) -> str:
        return f"{self.prefix}/dead/"

    def put(self, events: Sequence[Event]) -> str:
        """Add events behind the others; returns the key of their object."""
        now = self._clock()
        number = next(self._numbers) % 10**8
        key = f"{self._folder}{int(now * 1000):013d}-{number:08d}-{secrets.token_hex(4)}.json"
        data = Queued(queued=now, events=tuple(events)).model_dump_json().encode()
        self.store.put(key, data)  # of a key that nobody else makes
        return key

    def listed(self) -> list[str]:
        """The keys of all objects, the oldest first."""
        return sorted(entry.key for entry in self.store.list(self._folder))

    def read(self, key: str) -> Queued | None:
        """None: it is gone. Raises GalleryCorrupt."""
        try:
            return read_json(key, self.store.get(key).data, Queued)
        except NotFound:
            return None

    def remove(self, key: str) -> None:
        """Also its old versions, where the bucket keeps them: they name people."""
        self.store.purge(key)

    def bury(self, event: Event, queued: float, tries: int, problem: str) -> None:
        dead = Dead(event=event, queued=queued, buried=self._clock(), tries=tries, problem=problem)
        key = f"{self._graves}{int(queued * 1000):013d}-{event['id']}.json"
        self.store.put(key, dead.model_dump_json().encode())

    def graves(self) -> list[str]:
        """The keys of the events that were given up, the oldest first."""
        return sorted(entry.key for entry in self.store.list(self._graves))

    def dead(self) -> Iterator[tuple[str, Dead]]:
        """The events that were given up, by their keys, the oldest first.

        Raises:
            GalleryCorrupt: an object is damaged.
        """
        for key in self.graves():
            try:
                yield key, read_json(key, self.store.get(key).data, Dead)
            except NotFound:
                continue

    def revive(self, key: str) -> None:
        """Queue an event again that was given up.

        Raises:
            GalleryCorrupt: there is no such object, or it is damaged.
        """
        if not key.startswith(self._graves):
            raise GalleryCorrupt(f"{key} is no event that was given up.")
        try:
            dead = read_json(key, self.store.get(key).data, Dead)
        except NotFound:
            raise GalleryCorrupt(f"There is no object {key}.") from None
        self.put([dead.event])
        self.remove(key)
