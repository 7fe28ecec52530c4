"""Where the audit's objects are: the records in one bucket, the ids of people in another.

    <records>/<prefix>/records/<day>/<chain>/<number>.jsonl       append-only, perhaps locked
    <records>/<prefix>/expired.json                               what retention has removed
    <gallery>/<prefix>/people/<collection>/<id>/<day>.<pseudonym> removed by an erasure
    <gallery>/<prefix>/erased/<collection>/<id>                   for a day after an erasure

A record names people by pseudonyms, so that it need not be rewritten to forget one of them. Both
buckets may be the same; only that of the records may have Object Lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from serving.gallery.observer import NOBODY, Observer
from serving.gallery.s3 import Connect, connect
from serving.gallery.store import DescribedStore, Store
from serving.settings import AppArgs

NEEDS = "the audit needs to get, put and list objects, and to delete them and their versions"


@dataclass(frozen=True)
class Places:
    """The two stores, and the prefix in both."""

    records: DescribedStore
    people: Store
    prefix: str

    @classmethod
    def of(
        cls,
        args: AppArgs,
        observer: Observer = NOBODY,
        *,
        connect: Connect = connect,
        credentials: Mapping[str, str] | None = None,
    ) -> Places:
        """Those of the settings; no request is made. Takes a tenth of a second: not for a loop."""
        settings, own = args.audit.objects, args.gallery
        people = connect(own, observer, needs=NEEDS, credentials=credentials)
        if settings.bucket in (None, own.bucket):
            return cls(people, people, settings.prefix)
        other = own.model_copy(update={"bucket": settings.bucket})
        records = connect(other, observer, needs=NEEDS, credentials=credentials)
        return cls(records, people, settings.prefix)

    @property
    def expired(self) -> str:
        return f"{self.prefix}/expired.json"

    def records_of(self, day: str | None = None) -> str:
        """What the keys of the records begin with, of one day or of all."""
        return f"{self.prefix}/records/" + ("" if day is None else f"{day}/")

    def record(self, place: Place) -> str:
        return f"{self.records_of(place.day)}{place.chain}/{place.number:08d}.jsonl"

    def place(self, key: str) -> Place | None:
        """The place that a key of `records_of` says; None: it is no object of ours."""
        parts = key.removeprefix(self.records_of()).split("/")
        if len(parts) != 3 or not parts[2].removesuffix(".jsonl").isdecimal():
            return None
        return Place(parts[0], parts[1], int(parts[2].removesuffix(".jsonl")))

    def people_of(self, collection: str | None = None, person: int | None = None) -> str:
        """What the keys of the ids begin with: of one person, one collection or all."""
        whole = f"{self.prefix}/people/"
        if collection is None:
            return whole
        return f"{whole}{collection}/" + ("" if person is None else f"{person}/")

    def erased_of(self, collection: str | None = None, person: int | None = None) -> str:
        """The key of the mark of an erasure; without a person, what such keys begin with."""
        whole = f"{self.prefix}/erased/"
        return whole if collection is None else f"{whole}{collection}/{person}"


@dataclass(frozen=True, order=True)
class Place:
    """One object of records: its day (UTC, as 2026-11-29), its chain, and its number in it."""

    day: str
    chain: str
    number: int


def day_of(seconds: float) -> str:
    """The day in UTC; ``seconds`` since 1970."""
    return datetime.fromtimestamp(seconds, timezone.utc).date().isoformat()


def time_of(seconds: float) -> str:
    """The time in UTC, as RFC 3339 has it, to milliseconds."""
    text = datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
