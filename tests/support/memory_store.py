"""A store in memory that can be made to fail; the unit tests' stand-in for S3."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from serving.gallery.store import Entry, NotFound, ObjectInfo, PreconditionFailed, StoredObject


class MemoryStore:
    """See `serving.gallery.store.DescribedStore`.

    ``before`` and ``after`` are called around every request with its name and key. An error from
    them reaches the caller, as when a request, or its reply, is lost.
    """

    def __init__(self) -> None:
        self.objects: dict[str, StoredObject] = {}
        self.clock: Callable[[], float] = time.time
        self._modified: dict[str, float] = {}
        # By ETag: an object that replaces another has none of its metadata.
        self._metadata: dict[str, Mapping[str, str]] = {}
        self.before: Callable[[str, str], None] = lambda request, key: None
        self.after: Callable[[str, str], None] = lambda request, key: None
        self.page_size = 1000
        self.requests: list[tuple[str, str]] = []
        self.locked: dict[str, tuple[str, datetime]] = {}
        self._lock = threading.Lock()
        self._etags = 0

    def get(self, key: str) -> StoredObject:
        self._begin("get", key)
        with self._lock:
            found = self.objects.get(key)
        self.after("get", key)
        if found is None:
            raise NotFound(key)
        return found

    def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        self._begin("get", key)
        with self._lock:
            found = self.objects.get(key)
        self.after("get", key)
        if found is None:
            raise NotFound(key)
        return None if found.etag == etag else found

    def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        return self._put(key, data, {}, if_match, if_absent)

    def put_described(
        self,
        key: str,
        data: bytes,
        metadata: Mapping[str, str],
        *,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> str:
        return self._put(key, data, metadata, if_match, if_absent)

    def put_locked(self, key: str, data: bytes, mode: str, until: datetime) -> str:
        etag = self._put(key, data, {}, None, True)
        self.locked[key] = (mode, until)
        return etag

    def head(self, key: str) -> ObjectInfo:
        self._begin("head", key)
        with self._lock:
            found = self.objects.get(key)
        self.after("head", key)
        if found is None:
            raise NotFound(key)
        return ObjectInfo(
            size=len(found.data),
            etag=found.etag,
            sha256=hashlib.sha256(found.data).hexdigest(),
            metadata=self._metadata.get(found.etag, {}),
        )

    def delete(self, key: str) -> None:
        self._begin("delete", key)
        with self._lock:
            self.objects.pop(key, None)
        self.after("delete", key)

    def purge(self, key: str) -> None:
        self.delete(key)

    def list(self, prefix: str) -> Iterator[Entry]:
        with self._lock:
            found = {k: o for k, o in self.objects.items() if k.startswith(prefix)}
        for key in sorted(found):
            yield Entry(key, len(found[key].data), self._modified[key], found[key].etag)

    def page(self, prefix: str, after: str = "") -> Sequence[Entry]:
        self._begin("page", prefix)
        with self._lock:
            following = sorted(k for k in self.objects if k.startswith(prefix) and k > after)
            found = [
                Entry(key, len(self.objects[key].data), self._modified[key], self.objects[key].etag)
                for key in following[: self.page_size]
            ]
        self.after("page", prefix)
        return found

    def _put(
        self,
        key: str,
        data: bytes,
        metadata: Mapping[str, str],
        if_match: str | None,
        if_absent: bool,
    ) -> str:
        self._begin("put", key)
        with self._lock:
            found = self.objects.get(key)
            if if_absent and found is not None:
                raise PreconditionFailed(key)
            if if_match is not None and (found is None or found.etag != if_match):
                raise PreconditionFailed(key)
            self._etags += 1
            etag = f'"{self._etags}"'
            self.objects[key] = StoredObject(data, etag)
            self._modified[key] = self.clock()
            self._metadata[etag] = metadata
        self.after("put", key)
        return etag

    def _begin(self, request: str, key: str) -> None:
        self.requests.append((request, key))
        self.before(request, key)
