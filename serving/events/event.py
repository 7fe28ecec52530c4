"""Events as CloudEvents 1.0: what they are called, and how one is made.

An event names people by their ids alone. It has no photo, embedding, name or metadata: whoever
needs these asks the API, which knows who is erased and who may read them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, get_args

from serving.settings import EventKind
from serving.trail.places import time_of

Event = dict[str, Any]
# Of these the settings choose.
KINDS: tuple[str, ...] = get_args(EventKind)
LOOKUPS = ("identified", "unknown")
# Sent whatever the settings say: without them a receiver would take a part for the whole.
GAP, BULK = "gap", "bulk"

TYPES = {
    "enrolled": "faces.person.enrolled",
    "changed": "faces.person.changed",
    "deleted": "faces.person.deleted",
    "erased": "faces.person.erased",
    "identified": "faces.face.identified",
    "unknown": "faces.face.unknown",
    BULK: "faces.gallery.bulk",
    GAP: "faces.gallery.gap",
}


def event(
    kind: str,
    collection: str,
    *,
    key: Sequence[object],
    time: float,
    sequence: str,
    data: Mapping[str, Any],
    person: int | None = None,
) -> Event:
    """One event.

    Args:
        key: what tells it from all others of its kind and collection. The id is a hash of it: the
            same change has the same id, however often it is found.
        time: when it happened, in seconds since 1970.
        sequence: see `sequence_of`.
        person: the id of whom it is about.
    """
    digest = hashlib.blake2b(json.dumps([kind, collection, *key]).encode(), digest_size=16)
    about = {} if person is None else {"id": person}
    return {
        "specversion": "1.0",
        "id": digest.hexdigest(),
        "source": f"/collections/{collection}",
        "type": TYPES[kind],
        **({} if person is None else {"subject": str(person)}),
        "time": time_of(time),
        "datacontenttype": "application/json",
        "sequence": sequence,
        "data": {"collection": collection, **about, **data},
    }


def sequence_of(version: int, number: int = 0) -> str:
    """Compared as text, it orders the events of one gallery: by its version, then in a commit."""
    return f"{version:020d}.{number:08d}"


def batches(events: Iterator[Event], size: int) -> Iterator[list[Event]]:
    """The events in lists of at most so many."""
    while batch := list(islice(events, size)):
        yield batch
