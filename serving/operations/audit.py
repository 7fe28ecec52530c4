"""The audit of the operator's commands: a record for each that writes, as the service has them.

By the logger `faces.audit`, which the command writes to its standard error, and, where the
configuration has them, in the audit's objects. The same stands in the manifest, with the commit;
see `serving.gallery.manifest.Act`.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from serving import actor
from serving.errors import Unavailable
from serving.gallery.location import Location
from serving.gallery.s3 import Connect, connect
from serving.operations.config import Config
from serving.trail.places import Places, time_of
from serving.trail.writer import Trail

log = logging.getLogger("faces.audit")
# Always INFO: a higher level on the root logger must not drop audit lines.
log.setLevel(logging.INFO)

_trail: ContextVar[Trail | None] = ContextVar("trail", default=None)
_CLOSE_S = 30.0
# Each id is an object of its own: those of a migration of a million people would take an hour.
_MOST_IDS = 1000


class _Unwatched:
    """A `serving.trail.writer.Watch`; a command logs what it could not write."""

    def written(self, records: int) -> None:
        pass

    def lost(self, records: int) -> None:
        pass

    def state(self, waiting: int, problem: bool) -> None:
        pass


@contextmanager
def recording(config: Config, connect: Connect = connect) -> Iterator[None]:
    """Write what is changed in this context to the audit's objects, too, as a chain of its own,
    where the configuration has them. An error is logged, since the change is done by then."""
    objects = config.args.audit.objects
    if not objects.enabled:
        yield
        return

    def places() -> Places:
        return Places.of(config.args, connect=connect, credentials=config.credentials)

    trail = Trail(objects, places, f"cli-{socket.gethostname()}", _Unwatched())
    token = _trail.set(trail)
    try:
        yield
    finally:
        _trail.reset(token)
        trail.close(_CLOSE_S)


def flush() -> None:
    """Write the records of this context now: an erasure has to reach them.

    Raises:
        Unavailable: they cannot be written.
    """
    trail = _trail.get()
    if trail is not None and not trail.flush(_CLOSE_S):
        raise Unavailable("The audit's records cannot be written.")


def changed(action: str, location: Location, ids: Collection[int], gallery_version: int) -> None:
    """Record a change; without ``ids`` it is of everybody, or of no person at all."""
    who = actor.current() or "unknown"
    people = f" {', '.join(map(str, ids))}" if ids else ""
    fields: dict[str, Any] = {
        "action": action,
        "outcome": "done",
        "collection": location.collection,
        "model": location.model,
        "ids": list(ids),
        "gallery_version": int(gallery_version),
    }
    log.info(
        "%s%s in %s by %s: done, version %d",
        action,
        people,
        location,
        who,
        gallery_version,
        extra={**fields, "who": who},
    )
    trail = _trail.get()
    if trail is not None:
        if len(ids) > _MOST_IDS:
            fields |= {"ids": [], "people": len(ids)}
        trail.add({**fields, "key": who, "ended": time_of(time.time())})
