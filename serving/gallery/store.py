"""Interface of the object store of a gallery, and the check that conditional writes work."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from serving.errors import StoreUnfit


class NotFound(Exception):
    """There is no object under this key."""


class PreconditionFailed(Exception):
    """The condition of a write was not met; nothing was written."""


@dataclass(frozen=True)
class StoredObject:
    data: bytes
    etag: str


@dataclass(frozen=True)
class Entry:
    """One object of a listing; ``modified`` in seconds since 1970, by the store's clock."""

    key: str
    size: int
    modified: float


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
    """A store that also keeps metadata and checksums; a gallery needs neither."""

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

    def head(self, key: str) -> ObjectInfo:
        """What the store knows of the object. Raises NotFound."""


def check_conditional_writes(store: Store, prefix: str) -> None:
    """Check on a scratch object that the store refuses stale and duplicate writes.

    A store that ignores the conditions would let one writer overwrite the commits of another.

    Raises:
        StoreUnfit: the store ignores them.
    """
    key = f"{prefix}/.check/{uuid.uuid4().hex}"

    def refused(**condition: str | bool) -> bool:
        try:
            store.put(key, b"overwritten", **condition)  # type: ignore[arg-type]
        except PreconditionFailed:
            return True
        return False

    first = store.put(key, b"1", if_absent=True)
    try:
        fit = refused(if_absent=True)
        second = store.put(key, b"2", if_match=first)
        fit = fit and refused(if_match=first) and store.get(key).data == b"2" and second != first
    except PreconditionFailed:
        fit = False
    finally:
        store.purge(key)
    if not fit:
        raise StoreUnfit(
            "The object store ignores If-Match or If-None-Match on PUT, so writers would lose one "
            "another's work; use AWS S3, MinIO, R2, SeaweedFS or another store that has them."
        )
