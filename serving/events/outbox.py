"""The outbox: events of look-ups, written to the queue in batches by a thread.

A look-up leaves nothing in the gallery that could be followed. Its events are in memory until they
are written: a process that is killed loses those of the last moments, unless the answer waits for
them (`events.before_answer`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from serving.errors import ServingError, Unavailable
from serving.events.dispatcher import Watch
from serving.events.event import Event
from serving.events.queue import BATCH, Queue
from serving.settings import EventSettings

log = logging.getLogger(__name__)

# After a failure, doubled from the first to the last.
_PAUSE_S = (0.5, 10.0)
_FULL = "The event of this look-up cannot be written; try again later."


class Outbox:
    """Safe to use from several threads.

    Args:
        connect: makes the queue; called in the thread.
    """

    def __init__(self, settings: EventSettings, connect: Callable[[], Queue], watch: Watch) -> None:
        self.settings = settings
        self._connect = connect
        self._watch = watch
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Event, Future[None], float]] = deque()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="events-outbox", daemon=True)
        self._thread.start()

    def add(self, events: Sequence[Event]) -> Future[None]:
        """Take events of one look-up. Returns at once.

        Returns:
            Is done when they are written; has the error Unavailable when there is no room for them.
        """
        done: Future[None] = Future()
        with self._changed:
            full = len(self._waiting) + len(events) > self.settings.buffer_events
            if not full and not self._closing:
                now = time.monotonic()
                for number, event in enumerate(events, 1):
                    # The last one is written last.
                    its = done if number == len(events) else Future()
                    self._waiting.append((event, its, now))
                self._changed.notify_all()
                return done
        self._watch.lost(len(events))
        done.set_exception(Unavailable(_FULL))
        return done

    def close(self, timeout_s: float) -> None:
        """Write what is left, for at most so long."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        with self._changed:
            left = len(self._waiting)
        if left:
            self._watch.lost(left)
            log.error("%d events of look-ups were not written", left)

    def _run(self) -> None:
        queue: Queue | None = None
        pause = 0.0
        while self._wait(pause):
            with self._changed:
                batch = [self._waiting[n] for n in range(min(BATCH, len(self._waiting)))]
            try:
                queue = queue or self._connect()
                queue.put([event for event, _, _ in batch])
            except Exception as error:  # no event may end the thread
                if not pause or not isinstance(error, ServingError):
                    log.error("events of look-ups cannot be written: %s", error)
                pause = min(max(2 * pause, _PAUSE_S[0]), _PAUSE_S[1])
                continue
            pause = 0.0
            with self._changed:
                for _ in batch:
                    self._waiting.popleft()
            self._watch.queued(len(batch))
            for _, done, _ in batch:
                # A caller that waits no more has cancelled it.
                if done.set_running_or_notify_cancel():
                    done.set_result(None)

    def _wait(self, pause: float) -> bool:
        """Until a batch is due; False: nothing is left, and nothing will come."""
        with self._changed:
            if pause:
                self._changed.wait(pause)
            while not self._is_due():
                if self._closing:
                    return False
                wait = None
                if self._waiting:
                    age = time.monotonic() - self._waiting[0][2]
                    wait = max(self.settings.flush_s - age, 0.0)
                self._changed.wait(wait)
            return True

    def _is_due(self) -> bool:
        if not self._waiting:
            return False
        at_once = self.settings.before_answer or self._closing or len(self._waiting) >= BATCH
        return at_once or time.monotonic() - self._waiting[0][2] >= self.settings.flush_s
