"""The worker: a thread in every replica of the ingress, of which one follows and delivers."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable

from serving.errors import ServingError
from serving.events.dispatcher import Dispatcher, Watch
from serving.events.event import LOOKUPS
from serving.events.follower import Follower
from serving.events.lease import Lease
from serving.events.queue import Queue
from serving.events.receiver import Receiver
from serving.settings import EventSettings

log = logging.getLogger(__name__)

# Of a lease, beside what one delivery may take.
_LEASE_S = 15.0
_PAUSE_S = 5.0
_SHOWN_S = 5.0  # Ray drops a gauge that was not set for 20 s


class Worker:
    """Runs until it is closed.

    Args:
        connect: makes the queue; called in the thread.
        galleries: the prefix of the galleries in the queue's bucket.
        replica: the replica's name.
    """

    def __init__(
        self,
        settings: EventSettings,
        connect: Callable[[], Queue],
        galleries: str,
        replica: str,
        watch: Watch,
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._galleries = galleries
        self._holder = f"{replica}-{secrets.token_hex(4)}"
        self._watch = watch
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Stop after the delivery that is under way, and let another replica go on at once."""
        self._closing.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._work()
            except Exception as error:  # whatever it is, events go on when it is over
                expected = isinstance(error, ServingError)
                log.error("events stop: %s", error, exc_info=None if expected else error)
                self._watch.state(0.0, True)
                self._closing.wait(_PAUSE_S)

    def _work(self) -> None:
        queue = self._connect()
        life_s = _LEASE_S + self._settings.timeout_s
        lease = Lease(queue.store, f"{queue.prefix}/lease.json", self._holder, life_s)
        wanted = [kind for kind in self._settings.kinds if kind not in LOOKUPS]
        follower = Follower(queue, self._galleries, wanted, self._settings.collections)
        receiver = Receiver(self._settings)
        dispatcher = Dispatcher(queue, receiver, self._settings, self._watch)
        try:
            self._loop(lease, follower if wanted else None, dispatcher)
        finally:
            receiver.close()
            lease.release()

    def _loop(self, lease: Lease, follower: Follower | None, dispatcher: Dispatcher) -> None:
        held = False
        follow_at = show_at = 0.0
        while not self._closing.is_set():
            before, held = held, lease.hold()
            now = time.monotonic()
            if not held:
                if now >= show_at:
                    show_at = now + _SHOWN_S
                    self._watch.state(0.0, False)
                self._closing.wait(1.0)
                continue
            if not before:
                # Another replica may have gone on from where this one was.
                dispatcher.forget()
                if follower is not None:
                    follower.forget()
            if follower is not None and now >= follow_at:
                gaps = follower.gaps
                if count := follower.follow(lease.hold):
                    self._watch.queued(count)
                if follower.gaps > gaps:
                    self._watch.gap(follower.gaps - gaps)
                follow_at = time.monotonic() + self._settings.poll_s
            pause = dispatcher.step()
            if now >= show_at:
                show_at = now + _SHOWN_S
                problem = dispatcher.problem or (follower is not None and follower.problem)
                self._watch.state(dispatcher.lag_s, problem)
            if pause:
                self._closing.wait(min(pause, self._settings.poll_s))
