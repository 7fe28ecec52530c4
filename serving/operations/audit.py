"""The audit log of the operator's commands: a line for each that writes, as the service has them.

By the logger `faces.audit`, which the command writes to its standard error. The same stands in the
manifest, with the commit; see `serving.gallery.manifest.Act`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from serving import actor
from serving.gallery.location import Location

log = logging.getLogger("faces.audit")
# Always INFO: a higher level on the root logger must not drop audit lines.
log.setLevel(logging.INFO)


def changed(action: str, location: Location, ids: Collection[int], gallery_version: int) -> None:
    """Log a change; without ``ids`` it is of everybody, or of no person at all."""
    who = actor.current() or "unknown"
    people = f" {', '.join(map(str, ids))}" if ids else ""
    log.info(
        "%s%s in %s by %s: done, version %d",
        action,
        people,
        location,
        who,
        gallery_version,
        extra={
            "action": action,
            "outcome": "done",
            "who": who,
            "collection": location.collection,
            "model": location.model,
            "ids": list(ids),
            "gallery_version": int(gallery_version),
        },
    )
