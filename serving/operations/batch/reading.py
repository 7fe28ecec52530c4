"""Reads a job's photos from their bucket, and knows a photo that cannot be read from a store that
is away."""

from __future__ import annotations

from serving.errors import StoreUnfit, TooLarge, Unavailable
from serving.gallery.store import Entry, NotFound, StoreAway, StoredObject
from serving.operations.batch.job import Place


class Refused(Exception):
    """A photo or a person gets an error in place of an answer; the job goes on.

    Args:
        kind: of the problem, as ``type`` in an answer of the service.
        status: of the service's answer; None: it was not asked.
    """

    def __init__(self, kind: str, status: int | None, detail: str) -> None:
        super().__init__(detail)
        self.body = {"type": kind, "status": status, "detail": detail}


class Reader:
    """Reads photos of a folder.

    Args:
        max_bytes: a photo with more bytes is not read.
    """

    def __init__(self, source: Place, max_bytes: int) -> None:
        self._source = source
        self._max_bytes = max_bytes

    def read(self, entry: Entry) -> StoredObject:
        """The photo as it is now.

        Raises:
            Refused: it is too large, gone, or not given out.
            StoreUnfit: the bucket is missing, or the keys do not suffice.
            Unavailable: the store is away.
        """
        if entry.size > self._max_bytes:
            raise self._too_large(entry.size)
        photo = self._read(entry.key)
        if len(photo.data) > self._max_bytes:  # replaced since it was listed
            raise self._too_large(len(photo.data))
        return photo

    def _too_large(self, size: int) -> Refused:
        detail = f"{size} bytes are more than the {self._max_bytes} that are read."
        return Refused(TooLarge.type, None, detail)

    def _read(self, key: str) -> StoredObject:
        try:
            return self._once(key)
        except StoreUnfit as error:
            raise StoreUnfit(f"{self._source.folder.uri(key)} cannot be read. {error}") from None
        except Unavailable as error:
            # Either this object cannot be read (an archived one, for example), or the store is
            # away, which raises here and is no fault of the photo.
            self._source.store.page(self._source.folder.prefix)
            if isinstance(error, StoreAway):  # it was waited for
                raise Refused("unreadable", None, str(error)) from None
        try:
            return self._once(key)
        except Unavailable as error:
            raise Refused("unreadable", None, str(error)) from None

    def _once(self, key: str) -> StoredObject:
        try:
            return self._source.store.get(key)
        except NotFound:
            raise Refused("gone", None, "It was removed after it was listed.") from None
