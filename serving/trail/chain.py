"""Chains of the audit's objects: each holds the SHA-256 of the one before, so a gap or a change
shows.

An object is lines of JSON: a header, then a record a line. Each replica of the ingress has a chain
for each of its starts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from serving.errors import GalleryCorrupt
from serving.gallery.formats import Stored, read_json
from serving.trail.places import Place
from serving.trail.records import Record


class Header(Stored):
    """The first line of an object.

    Attributes:
        previous, previous_day: SHA-256 (hex) of the object before in the chain, and its day; None:
            this is the first one.
        records: how many follow.
        lost: records that were dropped since the object before, as the settings allow it.
        ended: the replica stopped in good order, and wrote all that it had.
    """

    format: Literal["faces-audit/1"] = "faces-audit/1"
    chain: str
    number: int
    written: str
    previous: str | None = None
    previous_day: str | None = None
    records: int = 0
    lost: int = 0
    ended: bool = False


def encode(header: Header, records: Sequence[Record]) -> bytes:
    """The bytes of an object; for the same arguments always the same."""
    lines = [header.model_dump_json(), *map(_line, records)]
    return "".join(f"{line}\n" for line in lines).encode()


def _line(record: Record) -> str:
    # No record may keep those behind it from being written.
    return json.dumps(record, separators=(",", ":"), default=str)


def decode(key: str, data: bytes) -> tuple[Header, list[Record]]:
    """The header and the records of the object ``key``.

    Raises:
        GalleryCorrupt: it is no such object, or not whole. GalleryTooNew: its format is newer.
    """
    first, _, rest = data.partition(b"\n")
    header = read_json(key, first, Header)
    try:
        records = [json.loads(line) for line in rest.splitlines()]
    except ValueError:
        raise GalleryCorrupt(f"The audit's object {key} is damaged.") from None
    if len(records) != header.records or not all(isinstance(r, dict) for r in records):
        raise GalleryCorrupt(
            f"The audit's object {key} has {len(records)} records and counts {header.records}."
        )
    return header, records


@dataclass(frozen=True)
class Head:
    """The last object of a chain, or one that was the last when it was noted."""

    number: int
    sha256: str
    day: str


@dataclass
class ChainReport:
    """What the check of one chain found.

    Attributes:
        head: its last object; None: there is none.
        lost: records that it counts as lost.
        ended: see `Header`; of a chain that has not ended, the replica runs or was killed.
    """

    chain: str
    first: int = 0
    head: Head | None = None
    records: int = 0
    lost: int = 0
    ended: bool = False
    problems: list[str] = field(default_factory=list)


def verify(
    chain: str,
    objects: Iterable[tuple[Place, bytes]],
    expired: str | None = None,
    known: Head | None = None,
) -> ChainReport:
    """Check the objects of one chain, in the order of their numbers.

    Args:
        expired: retention has removed what is older than this day.
        known: an object that the chain has to hold, from a check before.
    """
    report = ChainReport(chain)
    for place, data in objects:
        _check(report, place, data, expired)
        digest = hashlib.sha256(data).hexdigest()
        if known is not None and place.number == known.number and digest != known.sha256:
            report.problems.append(f"object {place.number} is not the one that was noted")
        report.first = report.first or place.number
        report.head = Head(place.number, digest, place.day)
    last = 0 if report.head is None else report.head.number
    if known is not None and last < known.number and not _is_expired(known.day, expired):
        report.problems.append(f"it ends with {last}, and {known.number} was noted: it was cut off")
    return report


def _check(report: ChainReport, place: Place, data: bytes, expired: str | None) -> None:
    """Add what is wrong with the next object to the report."""
    number, before, problems = place.number, report.head, report.problems
    try:
        header, records = decode(f"{report.chain}/{number}", data)
    except GalleryCorrupt as error:
        problems.append(str(error))
        report.ended = False
        return
    if report.ended:
        problems.append(f"object {number} comes after the end")
    if (header.chain, header.number) != (report.chain, number):
        problems.append(f"object {number} belongs elsewhere: {header.chain}/{header.number}")
    if not header.written.startswith(place.day):
        problems.append(f"object {number} was moved to another day")
    expected = 1 if before is None else before.number + 1
    if before is None and number > 1 and _is_expired(header.previous_day, expired):
        expected = number
    if number != expected:
        problems.append(f"objects {expected} to {number - 1} are missing")
    elif before is not None and header.previous != before.sha256:
        problems.append(f"object {before.number} was changed: {number} holds another hash of it")
    elif number == 1 and header.previous is not None:
        problems.append("object 1 names one before it")
    report.records += len(records)
    report.lost += header.lost
    report.ended = header.ended


def _is_expired(day: str | None, expired: str | None) -> bool:
    return day is not None and expired is not None and day < expired
