"""An operator's work on the objects of the audit: what ``faces audit`` does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from serving.gallery.s3 import Connect, connect
from serving.operations import audit
from serving.operations.config import Config
from serving.trail import people, reading, retention
from serving.trail.chain import ChainReport, Head
from serving.trail.places import Places
from serving.trail.reading import Query
from serving.trail.records import Record
from serving.trail.retention import Removed


def search(config: Config, query: Query, connect: Connect = connect) -> Iterator[Record]:
    """See `serving.trail.reading.search`."""
    return reading.search(_opened(config, connect), query)


def check(
    config: Config, known: Mapping[str, Head], connect: Connect = connect
) -> tuple[list[ChainReport], str | None]:
    """See `serving.trail.reading.check`."""
    return reading.check(_opened(config, connect), known)


def expire(
    config: Config, days: int | None, dry_run: bool, connect: Connect = connect
) -> Removed | None:
    """See `serving.trail.retention.expire`; None: the configuration writes no objects.

    Args:
        days: instead of the configured retention.
    """
    objects = config.args.audit.objects
    if not objects.enabled and days is None:
        return None
    return retention.expire(
        _opened(config, connect), days or objects.retention_days, dry_run=dry_run
    )


def forget(config: Config, ids: Iterable[int], connect: Connect = connect) -> int:
    """See `serving.trail.people.forget`; in the collection of the configuration, and with the
    records of this command itself."""
    audit.flush()
    places = _opened(config, connect)
    return sum(people.forget(places, config.args.gallery.collection, person) for person in ids)


def _opened(config: Config, connect: Connect) -> Places:
    return Places.of(config.args, connect=connect, credentials=config.credentials)
