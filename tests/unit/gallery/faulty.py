"""A store in memory whose requests go wrong when the test says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from typing import TypeVar

from serving.errors import Unavailable
from serving.gallery.store import Entry, NotFound, PreconditionFailed, StoredObject
from tests.support.memory_store import MemoryStore

T = TypeVar("T")


class Crash(BaseException):
    """The process ends here."""


class Fault(Enum):
    """What can become of one request."""

    REQUEST_LOST = "it never arrives"
    REPLY_LOST = "it is carried out, and nobody hears of it"
    REFUSED = "a conditional write is answered with 412 or 409, all else with 503"
    LATE = "it times out, and is carried out later if it is a write"
    CRASH_BEFORE = "the process ends before it is sent"
    CRASH_AFTER = "the process ends before the reply arrives"
    AWAY = "it never arrives, nor does any further one of the same operation"

    def __repr__(self) -> str:
        return f"Fault.{self.name}"


class FaultyStore(MemoryStore):
    """Asks ``fault`` before every request, which may also do something else in between.

    Attributes:
        fault: is given the request's name and key, and the data of a write.
        written: called with the key and data of every write that was carried out.
        removed: called with the key of every deletion that was carried out.
        late: the writes that were given up, in order, but are still under way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fault: Callable[[str, str, bytes], Fault | None] = lambda request, key, data: None
        self.written: Callable[[str, bytes], None] = lambda key, data: None
        self.removed: Callable[[str], None] = lambda key: None
        self.late: list[Callable[[], object]] = []

    def get(self, key: str) -> StoredObject:
        return self._request("get", key, lambda: MemoryStore.get(self, key))

    def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        return self._request("get", key, lambda: MemoryStore.get_if_changed(self, key, etag))

    def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        def put() -> str:
            etag = MemoryStore.put(self, key, data, if_match=if_match, if_absent=if_absent)
            self.written(key, data)
            return etag

        return self._request("put", key, put, data, conditional=if_absent or if_match is not None)

    def delete(self, key: str) -> None:
        def delete() -> None:
            MemoryStore.delete(self, key)
            self.removed(key)

        self._request("delete", key, delete)

    def list(self, prefix: str) -> Iterator[Entry]:
        yield from self._request("list", prefix, lambda: [*MemoryStore.list(self, prefix)])

    def land(self, which: int) -> None:
        """Carry out one of the late writes, if its condition still holds."""
        if self.late:
            with suppress(PreconditionFailed, NotFound):
                self.late.pop(which % len(self.late))()

    def _request(
        self,
        request: str,
        key: str,
        do: Callable[[], T],
        data: bytes = b"",
        *,
        conditional: bool = False,
    ) -> T:
        fault = self.fault(request, key, data)
        if fault in (Fault.REQUEST_LOST, Fault.AWAY):
            raise Unavailable("The request got lost.")
        if fault is Fault.LATE:
            if request in ("put", "delete"):
                self.late.append(do)
            raise Unavailable("Timed out.")
        if fault is Fault.REFUSED:
            raise PreconditionFailed(key) if conditional else Unavailable("503")
        if fault is Fault.CRASH_BEFORE:
            raise Crash
        try:
            return do()
        finally:
            # Whatever the reply was, nobody hears of it.
            if fault is Fault.REPLY_LOST:
                raise Unavailable("The reply got lost.")
            if fault is Fault.CRASH_AFTER:
                raise Crash
