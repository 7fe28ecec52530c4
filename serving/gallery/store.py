"""Interface of the object store of a gallery, and the check that conditional writes work."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from serving.errors import StoreUnfit, Unavailable


class NotFound(Exception):
    """There is no object under this key."""


class PreconditionFailed(Exception):
    """The condition of a write was not met; nothing was written."""


class StoreAway(Unavailable):
    """The store does not answer, or with a failure of its own. The same request may succeed later;
    after every other Unavailable it does not by waiting."""


class StoreBusy(StoreAway):
    """The store asks for fewer requests, or to come back later."""


@dataclass(frozen=True)
class StoredObject:
    data: bytes
    etag: str


@dataclass(frozen=True)
class Entry:
    """One object of a listing.

    Attributes:
        size: bytes.
        modified: seconds since 1970, by the store's clock.
    """

    key: str
    size: int
    modified: float
    etag: str


@dataclass(frozen=True)
class ObjectInfo:
    """What a store knows of one object without its bytes.

    Attributes:
        size: bytes.
        sha256: hex, of the bytes as the store holds them; None: it keeps no such checksums.
        metadata: from `put_described`; keys in lower case.
    """

    size: int
    etag: str
    sha256: str | None
    metadata: Mapping[str, str]


class Store(Protocol):
    """Objects under keys. Safe to use from several threads.

    Every method raises `serving.errors.Unavailable` when the store is away or late. Only reading
    shows whether such a `put` has been carried out.
    """

    def get(self, key: str) -> StoredObject:
        """Raises NotFound."""

    def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        """None while the object still has this ETag. Raises NotFound."""

    def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        """Write and return the new ETag. Raises PreconditionFailed."""

    def delete(self, key: str) -> None:
        """Remove the object, if it is there."""

    def purge(self, key: str) -> None:
        """Remove the object and every old version of it that the bucket keeps."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """The objects whose keys begin with ``prefix``."""


class DescribedStore(Store, Protocol):
    """A store that also keeps metadata, checksums and locks; a gallery needs none of them."""

    def put_described(
        self,
        key: str,
        data: bytes,
        metadata: Mapping[str, str],
        *,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> str:
        """Like `put`, with metadata, and a checksum that the store verifies and may keep."""

    def put_locked(self, key: str, data: bytes, mode: str, until: datetime) -> str:
        """Write a new object, under Object Lock until then, and return its ETag.

        Args:
            mode: ``GOVERNANCE`` or ``COMPLIANCE``.

        Raises:
            PreconditionFailed: there is an object under this key.
            Unavailable: the bucket has no Object Lock; or the store is away.
        """

    def head(self, key: str) -> ObjectInfo:
        """What the store knows of the object. Raises NotFound."""

    def page(self, prefix: str, after: str = "") -> Sequence[Entry]:
        """Part of what `list` returns, of any length: what follows the key ``after`` in the store's
        order of keys. Empty: nothing follows."""


_LEFT_S = 3600.0  # a check takes seconds


def check_conditional_writes(store: Store, prefix: str) -> None:
    """Check on a scratch object that the store refuses stale and duplicate writes, and that GET and
    LIST see a write at once. Removes what a check that was killed has left.

    A store that ignores the conditions would let one writer overwrite the commits of another. With
    a cache before it, readers would go to and fro between versions.

    Raises:
        StoreUnfit: the store ignores them, or answers with what was there before.
    """
    folder = f"{prefix}/.check/"
    key = f"{folder}{uuid.uuid4().hex}"

    def refused(**condition: str | bool) -> bool:
        try:
            store.put(key, b"overwritten", **condition)  # type: ignore[arg-type]
        except PreconditionFailed:
            return True
        return False

    def sees(data: bytes | None) -> bool:
        entries = {entry.key: entry for entry in store.list(folder)}
        _remove_left(store, entries, key)
        try:
            return store.get(key).data == data and key in entries
        except NotFound:
            return data is None and key not in entries

    first = store.put(key, b"1", if_absent=True)
    try:
        consistent = sees(b"1")
        fit = refused(if_absent=True)
        second = store.put(key, b"2", if_match=first)
        consistent = consistent and sees(b"2")
        fit = fit and refused(if_match=first) and second != first and store.get(key).data == b"2"
    except PreconditionFailed:
        fit = False
    finally:
        store.purge(key)
    if not (consistent and sees(None)):
        raise StoreUnfit(
            "The object store answers GET or LIST with what was there before a write, so readers "
            "would go back to older versions; take the cache before it away, or use a store with "
            "strong consistency."
        )
    if not fit:
        raise StoreUnfit(
            "The object store ignores If-Match or If-None-Match on PUT, so writers would lose one "
            "another's work; use AWS S3, MinIO, R2, SeaweedFS or another store that has them."
        )


def _remove_left(store: Store, entries: Mapping[str, Entry], own: str) -> None:
    """Remove scratch objects that are much older than the own one, by the store's clock."""
    if own in entries:
        before = entries[own].modified - _LEFT_S
        for key in (key for key, entry in entries.items() if entry.modified < before):
            store.purge(key)
