"""A budget of memory for the bodies of requests in flight: it is taken before a body is read."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

from fastapi import Request

from serving.errors import NoRoom
from serving.settings import LimitSettings

# Memory that a body takes until it is read, as a multiple of its bytes; a test measures it.
RAW_FACTOR = 2.2
JSON_FACTOR = 4.4
# What a value of JSON takes once it is read: a Python object, its place in a list, and for a while
# the parser's own.
VALUE_BYTES = 80
# What one candidate of an answer takes until it is written.
CANDIDATE_BYTES = 1000


# The part of the budget that the requests of one key may take together.
KEY_SHARE = 0.5


def check_room(limits: LimitSettings) -> None:
    """Raise ValueError if one body of the size that is allowed would never find room: each caller
    would be sent away to try again."""
    needed = int(limits.max_body_bytes * JSON_FACTOR)
    if limits.body_memory_bytes < needed:
        raise ValueError(
            f"limits.body_memory_bytes ({limits.body_memory_bytes}) is less than one body of "
            f"limits.max_body_bytes ({limits.max_body_bytes}) takes as JSON, {JSON_FACTOR} times "
            f"its bytes ({needed}); raise it, or lower max_body_bytes."
        )


class Memory:
    """The budget of one process; from any thread.

    Args:
        total: bytes.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._taken = 0
        self._by_key: Counter[str | None] = Counter()
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """Bytes that are taken now."""
        return self._taken

    def take(self, nbytes: int, key: str | None, held: int) -> None:
        """Take bytes.

        Args:
            key: the name of the caller's key; None: it has none, and no share of its own.
            held: bytes that the same request holds. One request may exceed its key's share, so
                that the largest body is taken in any budget that holds it.

        Raises:
            NoRoom: there are not so many.
        """
        with self._lock:
            if self._taken + nbytes > self._total:
                raise NoRoom(
                    "The requests that are under way take all the memory; try again in a moment."
                )
            others = self._by_key[key] - held
            if key is not None and others and others + held + nbytes > KEY_SHARE * self._total:
                raise NoRoom(
                    "The requests of this key that are under way take its share of the memory; "
                    "try again in a moment."
                )
            self._taken += nbytes
            self._by_key[key] += nbytes

    def give_back(self, nbytes: int, key: str | None) -> None:
        """Give bytes back that were taken for ``key``."""
        with self._lock:
            self._taken -= nbytes
            self._by_key[key] -= nbytes
            if not self._by_key[key]:
                del self._by_key[key]


class Lease:
    """What one request has taken of the budget.

    Args:
        key: as in `Memory.take`.
    """

    def __init__(self, memory: Memory, key: str | None = None) -> None:
        self._memory = memory
        self._key = key
        self._taken = 0

    def take(self, nbytes: int) -> None:
        """Take more. Raises NoRoom."""
        self._memory.take(nbytes, self._key, self._taken)
        self._taken += nbytes

    def keep(self, nbytes: int) -> None:
        """Give back what is more than ``nbytes``."""
        more = max(0, self._taken - nbytes)
        self._memory.give_back(more, self._key)
        self._taken -= more

    def end(self) -> None:
        self.keep(0)


def keep_photos(request: Request, photos: Iterable[bytes]) -> None:
    """The body is read: from now on only its photos take memory, and each once more in a message
    to the decode stage."""
    lease_of(request).keep(2 * sum(map(len, photos)))


def lease_of(request: Request) -> Lease:
    """The lease of a request that has a body; see `serving.api.middleware.room`."""
    lease: Lease = request.scope["state"]["lease"]
    return lease


def cost_of(kind: str, length: int) -> int:
    """The bytes that a body takes until it is read.

    Args:
        kind: its media type.
        length: its bytes, or the most that it may have.
    """
    return int(length * (RAW_FACTOR if _is_binary(kind) else JSON_FACTOR))


def _is_binary(kind: str) -> bool:
    return kind.startswith("image/") or kind in ("application/octet-stream", "multipart/form-data")
