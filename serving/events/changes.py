"""What a segment of the gallery says of people, as events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serving.events.event import BULK, Event, event, sequence_of
from serving.gallery.location import Location
from serving.gallery.segment import Kind, Segment

# More enrolments than these in one segment come from an import, a migration or a restore: one event
# for all of them.
BULK_ABOVE = 1000
_ENROLMENTS = (Kind.PUT, Kind.APPEND)


@dataclass(frozen=True)
class Change:
    """One change of one person.

    Attributes:
        kind: see `serving.events.event.TYPES`.
        person: None: of everybody.
        time: seconds since 1970.
    """

    kind: str
    person: int | None
    time: float
    data: dict[str, Any] = field(default_factory=dict)


def events_of(segment: Segment, version: int, location: Location) -> Iterator[Event]:
    """The events of the commit that made this version of a gallery.

    Args:
        version: the last that the segment covers.
    """
    common = {"gallery_version": version, "model": location.model}
    for number, change in enumerate(changes(segment)):
        yield event(
            change.kind,
            location.collection,
            # Neither an erasure of others nor a compaction changes these.
            key=[location.model, version, change.person, change.time, change.data],
            time=change.time,
            sequence=sequence_of(version, number),
            data={**common, **change.data},
            person=change.person,
        )


def changes(segment: Segment) -> Iterator[Change]:
    """The changes in the order of the operations."""
    enrolled = np.isin(segment.kind, _ENROLMENTS)
    bulk = int(enrolled.sum()) > BULK_ABOVE
    if bulk:
        people = len(np.unique(segment.id[enrolled]))
        yield Change(BULK, None, float(segment.updated[enrolled].max()), {"people": people})
    split = set(segment.id[segment.kind == Kind.SPLIT].tolist())
    put = set(segment.id[enrolled].tolist())
    starts = segment.source_starts().tolist()
    for n, details in enumerate(segment.each_details()):
        kind, person = Kind(segment.kind[n]), int(segment.id[n])
        if bulk and kind in _ENROLMENTS:
            continue
        time = float(segment.updated[n])
        sources = segment.sources[starts[n] : starts[n + 1]].tolist()
        if kind in _ENROLMENTS and split:
            again = person in split or kind is Kind.APPEND
            yield Change(
                "changed" if again else "enrolled",
                person,
                time,
                {"change": "corrected", "photos": int(segment.count[n])},
            )
        elif kind in _ENROLMENTS:
            mode = "replace" if kind is Kind.PUT else "append"
            yield Change("enrolled", person, time, {"mode": mode, "photos": int(segment.count[n])})
        elif kind is Kind.DELETE:
            yield Change("deleted", person, time)
        elif kind is Kind.SPLIT and person not in put:
            yield Change("deleted", person, time, {"change": "corrected", "to": sources})
        elif kind is Kind.MERGE:
            others = [s for s in dict.fromkeys(sources) if s != person]
            yield Change("changed", person, time, {"change": "merged", "from": others})
            for other in others:
                yield Change("deleted", other, time, {"change": "merged", "to": [person]})
        elif kind is Kind.DESCRIBE:
            yield Change("changed", person, time, {"change": "details"})
        elif kind is Kind.DISTINCT:
            told = "same" if details.get("threshold") is None else "distinct"
            yield Change("changed", person, time, {"change": told, "other": sources[0]})
        elif kind is Kind.CLEAR:
            yield Change("deleted", None, time, {"everybody": True})


def deleted_in(segment: Segment) -> dict[int, float]:
    """The people who are deleted by an operation of their own, and when, in seconds since 1970."""
    deleted = segment.kind == Kind.DELETE
    return dict(zip(segment.id[deleted].tolist(), segment.updated[deleted].tolist(), strict=True))
