"""The writer of the audit's objects: records gather in memory, and a thread writes them in batches.

While the store is away they stay in memory, up to a bound. From then on, by the settings, requests
are refused, or records are dropped and counted. A process that is killed loses what it had in
memory; its chain has no end then, and the log has the records.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Protocol

from serving.errors import ServingError, Unavailable
from serving.gallery.store import PreconditionFailed
from serving.settings import AuditObjectSettings
from serving.trail import people
from serving.trail.chain import Header, encode
from serving.trail.people import Pseudonyms
from serving.trail.places import Place, Places, day_of, time_of
from serving.trail.records import Record, people_in, renamed, size_of

log = logging.getLogger(__name__)

_OBJECT_BYTES = 4 * 2**20  # of the records in memory; a quarter of it in the object
_KEEP_S = 5.0  # how often the state is shown
# After a failure, doubled from the first to the last. Ray drops a gauge that was not set for 20 s.
_PAUSE_S = (0.5, 10.0)
_FLUSH_S = 5.0  # what an erasure waits for records of before


class Watch(Protocol):
    """What becomes of the records, for metrics; called in any thread."""

    def written(self, records: int) -> None: ...

    def lost(self, records: int) -> None: ...

    def state(self, waiting: int, problem: bool) -> None:
        """Called every few seconds: records in memory, and whether they cannot be written."""


@dataclass(frozen=True)
class _Batch:
    """An object that is to be written; its bytes never change, since the next one has its hash."""

    place: Place
    data: bytes
    records: int
    size: int
    lost: int
    ended: bool


class Trail:
    """The chain of one replica, from its start on.

    Args:
        connect: makes the stores; called in the thread.
        replica: the replica's name, for that of the chain.
    """

    def __init__(
        self,
        settings: AuditObjectSettings,
        connect: Callable[[], Places],
        replica: str,
        watch: Watch,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._watch = watch
        self._clock = clock
        start = time_of(clock()).replace("-", "").replace(":", "")[:15]
        safe = "".join(c if c.isalnum() and c.isascii() else "-" for c in replica)
        self.chain = f"{safe}-{start}Z-{secrets.token_hex(3)}"
        # Below the condition: what callers and the thread share.
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Record, int, float]] = deque()
        self._bytes = self._added = self._done = self._lost = 0
        self._urgent = self._closing = False
        # The thread's own.
        self._places: Places | None = None
        self._pseudonyms: Pseudonyms | None = None
        self._batch: _Batch | None = None
        self._number = 0
        self._previous: str | None = None
        self._previous_day: str | None = None
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def require_room(self) -> None:
        """Raises Unavailable: records cannot be written, and the settings do not let any be lost.

        What was let in before is kept even so: the bound is passed by requests in flight alone.
        """
        if self._settings.when_full == "refuse" and self._is_full():
            raise Unavailable(
                "The audit's records cannot be written, and this request would need one; try "
                "again later."
            )

    def add(self, record: Record, *, was_let_in: bool = True) -> None:
        """Take a record. Returns at once.

        Args:
            record: see `serving.trail.records`, with its ``collection``; not changed afterwards.
            was_let_in: `require_room` was asked; others are dropped when there is none.
        """
        size = size_of(record)
        with self._changed:
            may_drop = self._settings.when_full == "lose" or not was_let_in
            dropped = self._closing or (may_drop and self._is_full())
            if dropped:
                self._lost += 1
            else:
                self._waiting.append((record, size, time.monotonic()))
                self._bytes += size
                self._added += 1
                if self._bytes >= _OBJECT_BYTES or len(self._waiting) == 1:
                    self._changed.notify_all()
        if dropped:
            self._watch.lost(1)

    def flush(self, timeout_s: float) -> bool:
        """Whether all that was added until now is written; waits for it."""
        with self._changed:
            until, self._urgent = self._added, True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._done >= until, timeout_s)

    def forget(self, collection: str, person: int) -> int:
        """See `serving.trail.people.forget`; with the records that this replica still had."""
        if not self.flush(_FLUSH_S):
            raise Unavailable("The audit's records cannot be written.")
        assert self._places is not None
        return people.forget(self._places, collection, person)

    def close(self, timeout_s: float) -> None:
        """Write all that there is, and the end of the chain; no record is taken from now on."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        with self._changed:
            left = len(self._waiting)
        if left:
            self._watch.lost(left)
            log.error("%d records of the audit were not written; the log has them", left)

    def _is_full(self) -> bool:
        return self._bytes >= self._settings.buffer_bytes

    def _run(self) -> None:
        pause, problem = 0.0, False
        while self._wait(pause, problem):
            try:
                self._write()
            # Whatever it is: without this thread no record would be written any more.
            except Exception as error:
                expected = isinstance(error, ServingError)
                if not problem or not expected:
                    log.error(
                        "the audit's records cannot be written: %s",
                        error,
                        exc_info=None if expected else error,
                    )
                pause, problem = min(max(2 * pause, _PAUSE_S[0]), _PAUSE_S[1]), True
            else:
                if problem:
                    log.warning("the audit's records are written again")
                pause, problem = 0.0, False
            self._watch.state(len(self._waiting), problem)
        if self._pseudonyms is not None:
            self._pseudonyms.close()

    def _wait(self, pause: float, problem: bool) -> bool:
        """Until something is to be written; False: nothing is left, and nothing will come."""
        with self._changed:
            if pause:  # also at the end, so that a store that is away is not asked without pause
                self._changed.wait(pause)
            while not self._is_due():
                if self._closing:
                    return False
                wait = _KEEP_S
                if self._waiting:
                    since = time.monotonic() - self._waiting[0][2]
                    wait = min(wait, self._settings.flush_s - since)
                self._changed.wait(max(wait, 0.0))
                self._watch.state(len(self._waiting), problem)
            return True

    def _is_due(self) -> bool:
        if self._batch is not None:
            return True
        if not self._waiting:
            self._urgent = False
            # The end of a chain that has begun.
            return self._closing and self._number > 0 and self._previous is not None
        old = time.monotonic() - self._waiting[0][2] >= self._settings.flush_s
        return old or self._urgent or self._closing or self._bytes >= _OBJECT_BYTES

    def _write(self) -> None:
        if self._places is None:
            self._places = self._connect()
            self._pseudonyms = Pseudonyms(self._places)
        if self._batch is None:
            self._batch = self._made(self._places)
        batch = self._batch
        key = self._places.record(batch.place)
        try:
            self._put(self._places, key, batch.data)
        except PreconditionFailed:
            # The reply to an earlier try got lost; nobody else writes this chain.
            if self._places.records.get(key).data != batch.data:
                raise
        digest = hashlib.sha256(batch.data).hexdigest()
        # The log is kept elsewhere: with it, an end that was cut off shows.
        log.info("audit object %d of %s: %s", batch.place.number, self.chain, digest)
        with self._changed:
            for _ in range(batch.records):
                self._waiting.popleft()
            self._bytes -= batch.size
            self._lost -= batch.lost
            self._done += batch.records
            self._number, self._previous_day = batch.place.number, batch.place.day
            self._previous = None if batch.ended else digest
            self._batch = None
            self._changed.notify_all()
        self._watch.written(batch.records)

    def _made(self, places: Places) -> _Batch:
        with self._changed:
            taken: list[Record] = []
            size = 0
            for record, its_size, _ in self._waiting:
                if taken and size + its_size > _OBJECT_BYTES:
                    break
                taken.append(record)
                size += its_size
            lost, ended = self._lost, self._closing and len(taken) == len(self._waiting)
        now = self._clock()
        day = day_of(now)
        assert self._pseudonyms is not None
        who = {(r["collection"], person) for r in taken for person in people_in(r)}
        given = self._pseudonyms.of(day, who)
        records = [
            renamed(r, lambda i, c=r["collection"]: given.get((c, i), i))  # type: ignore[misc]
            for r in taken
        ]
        header = Header(
            chain=self.chain,
            number=self._number + 1,
            written=time_of(now),
            previous=self._previous,
            previous_day=self._previous_day,
            records=len(records),
            lost=lost,
            ended=ended,
        )
        place = Place(day, self.chain, header.number)
        return _Batch(place, encode(header, records), len(records), size, lost, ended)

    def _put(self, places: Places, key: str, data: bytes) -> None:
        settings = self._settings
        if settings.lock == "none":
            places.records.put(key, data, if_absent=True)
            return
        until = datetime.fromtimestamp(self._clock(), timezone.utc)
        until += timedelta(days=settings.retention_days or 0)
        places.records.put_locked(key, data, settings.lock.upper(), until)
