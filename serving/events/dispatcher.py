"""The dispatcher: delivers queued events one after the other, each until the receiver takes it.

While the receiver is away, nothing passes the event that waits, so the order stays; only after a
few tries others do. An event that the receiver refuses waits by itself, and the others pass it.
What is older than the settings allow is given up: it becomes an object of its own.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from serving.errors import GalleryCorrupt
from serving.events.event import Event
from serving.events.queue import Queue
from serving.events.receiver import Outcome
from serving.settings import EventSettings

log = logging.getLogger(__name__)

# Objects of the queue in memory; as many refused events as this hold the others up.
_OBJECTS = 64
# Of `Retry-After`.
_LONGEST_S = 3600.0
# An event by which the receiver breaks each time must not hold up the others for days.
_TRIES_IN_PLACE = 8
# A receiver that refuses more different events than these, and takes none, is as good as away.
_REFUSED = 8


class Send(Protocol):
    def send(self, event: Event) -> Outcome: ...


class Watch(Protocol):
    """What becomes of events, for metrics; called in any thread."""

    def queued(self, events: int) -> None: ...

    def delivered(self) -> None: ...

    def failed(self) -> None: ...

    def dead(self) -> None: ...

    def lost(self, events: int) -> None:
        """Of look-ups, while the store is away and the memory is full."""

    def gap(self, gaps: int) -> None: ...

    def state(self, lag_s: float, problem: bool) -> None:
        """Called every few seconds by who delivers: the age of the oldest event that waits, and
        whether events cannot be queued or delivered."""


@dataclass(eq=False)
class _Waiting:
    """An event that is not delivered, and the key of its object; ``next`` is when to try again, in
    seconds since 1970."""

    key: str
    event: Event
    queued: float
    tries: int = 0
    next: float = 0.0


class Dispatcher:
    """For one thread.

    Args:
        clock: seconds since 1970.
        spread: a number from 0 to 1, evenly.
    """

    def __init__(
        self,
        queue: Queue,
        receiver: Send,
        settings: EventSettings,
        watch: Watch,
        *,
        clock: Callable[[], float] = time.time,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._receiver = receiver
        self._settings = settings
        self._watch = watch
        self._clock = clock
        self._spread = spread
        # By the keys of their objects, in order; empty: all are done, and the object can go.
        self._objects: dict[str, list[_Waiting]] = {}
        self._damaged: set[str] = set()
        self._listed = 0.0
        # Keys that were listed, and have not been read.
        self._unread: deque[str] = deque()
        # Failures of the receiver without a success, and until when it is left alone.
        self._away = 0
        self._until = 0.0
        # The ids of events that it refused without a success.
        self._refused: set[str] = set()

    @property
    def problem(self) -> bool:
        """Whether the receiver is away, or an object of the queue is damaged."""
        return self._away > 0 or bool(self._damaged)

    @property
    def lag_s(self) -> float:
        """The age of the oldest event that waits."""
        oldest = min((w.queued for w in self._all()), default=None)
        return 0.0 if oldest is None else max(self._clock() - oldest, 0.0)

    def forget(self) -> None:
        """Read the queue again: another process has delivered from it."""
        self._objects.clear()
        self._unread.clear()
        self._damaged.clear()
        self._listed = 0.0

    def step(self) -> float:
        """Deliver at most one event; returns the seconds until there may be something to do.

        Raises:
            Unavailable: the store is away.
        """
        self._remove_done()
        now = self._clock()
        if now < self._until:
            return self._until - now
        self._read(now)
        waiting = next((w for w in self._all() if w.next <= now), None)
        if waiting is None:
            return min([self._settings.poll_s, *(max(w.next - now, 0.0) for w in self._all())])
        outcome = self._receiver.send(waiting.event)
        if outcome.result == "delivered":
            if self._away:
                log.warning("the receiver of events is back")
            self._away = 0
            self._refused.clear()
            self._watch.delivered()
            self._done(waiting)
        else:
            self._failed(waiting, outcome)
        self._remove_done()
        return 0.0

    def _failed(self, waiting: _Waiting, outcome: Outcome) -> None:
        now = self._clock()
        waiting.tries += 1
        self._watch.failed()
        asked = min(outcome.retry_after or 0.0, _LONGEST_S)
        if outcome.result == "refused":
            self._refused.add(waiting.event["id"])
        away = outcome.result == "away" or len(self._refused) > _REFUSED
        if away:
            if not self._away:
                log.error("events cannot be delivered: %s", outcome.problem)
            self._away += 1
            self._until = now + max(self._pause(self._away), asked)
        if outcome.result == "refused" or waiting.tries >= _TRIES_IN_PLACE:
            # Later than the receiver is tried again, or no other event would be.
            waiting.next = max(now, self._until) + max(self._pause(waiting.tries), asked)
        # While the receiver is away, those behind it would fare alike.
        for each in list(self._all()) if away else [waiting]:
            if now - each.queued >= self._settings.max_age_s:
                self._bury(each, outcome.problem)

    def _bury(self, waiting: _Waiting, problem: str) -> None:
        # First: what is killed in between is delivered again, and given up again.
        self._queue.bury(waiting.event, waiting.queued, waiting.tries, problem)
        log.error("event %s was given up: %s", waiting.event["id"], problem)
        self._watch.dead()
        self._done(waiting)

    def _pause(self, failures: int) -> float:
        """Seconds, doubled from failure to failure, less up to a half of them."""
        longest = min(
            self._settings.max_pause_s, self._settings.pause_s * 2.0 ** min(failures - 1, 30)
        )
        return longest * (1 - self._spread() / 2)

    def _read(self, now: float) -> None:
        """Read the next objects, if there is room and something may be new."""
        room = len(self._objects) < _OBJECTS
        if room and not self._unread and now - self._listed >= self._settings.poll_s:
            listed = self._queue.listed()
            self._listed = now
            self._damaged &= set(listed)
            known = self._objects.keys() | self._damaged
            self._unread.extend(key for key in listed if key not in known)
        while self._unread and len(self._objects) < _OBJECTS:
            key = self._unread.popleft()
            try:
                found = self._queue.read(key)
            except GalleryCorrupt as error:
                log.error("%s", error)
                self._damaged.add(key)
                continue
            if found is not None:
                self._objects[key] = [_Waiting(key, e, found.queued) for e in found.events]

    def _all(self) -> Iterator[_Waiting]:
        for waiting in self._objects.values():
            yield from waiting

    def _done(self, waiting: _Waiting) -> None:
        self._objects[waiting.key].remove(waiting)

    def _remove_done(self) -> None:
        for key in [key for key, waiting in self._objects.items() if not waiting]:
            self._queue.remove(key)
            del self._objects[key]
