"""A store in a folder: what it holds is not in the memory of the process that uses it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

from serving.gallery.store import Entry, NotFound, PreconditionFailed, StoredObject


class FolderStore:
    """See `serving.gallery.store.Store`; for one process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._etags: dict[str, str] = {}

    def get(self, key: str) -> StoredObject:
        try:
            data = (self._folder / key).read_bytes()
        except FileNotFoundError:
            raise NotFound(key) from None
        return StoredObject(data, self._etag(key))

    def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        return None if self._etag(key) == etag else self.get(key)

    def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        path = self._folder / key
        with self._lock:
            if if_absent and path.exists():
                raise PreconditionFailed(key)
            if if_match is not None and self._etag(key) != if_match:
                raise PreconditionFailed(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            etag = self._etags[key] = hashlib.sha256(data).hexdigest()
        return etag

    def delete(self, key: str) -> None:
        (self._folder / key).unlink(missing_ok=True)

    def purge(self, key: str) -> None:
        self.delete(key)

    def list(self, prefix: str) -> Iterator[Entry]:
        start = len(str(self._folder)) + 1
        for path in sorted(self._folder.rglob("*")):
            key = str(path)[start:]
            if path.is_file() and key.startswith(prefix):
                stat = path.stat()
                yield Entry(key, stat.st_size, stat.st_mtime, self._etag(key))

    def _etag(self, key: str) -> str:
        if key not in self._etags:
            self._etags[key] = "of-another-process"
        return self._etags[key]
