"""A lease in the bucket: of all replicas one delivers events.

Nobody's clock is compared with another's: a lease is free when its object has not changed for its
life, by the clock of who looks at it. A holder that slept through its life may go on for a moment
beside the next one; then events are delivered twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress

from serving.errors import Unavailable
from serving.gallery.store import NotFound, PreconditionFailed, Store

_FREE = ""


class Lease:
    """For one thread.

    Args:
        holder: a name that nobody else has.
        life_s: after which another one may take it.
        monotonic: seconds, from any start.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        holder: str,
        life_s: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._key = key
        self._holder = holder
        self._life_s = life_s
        self._monotonic = monotonic
        self._etag: str | None = None
        self._renewed = 0.0
        self._beat = 0
        # The lease of another one, and since when it is seen to be the same.
        self._seen: tuple[str, float] | None = None
        self._looked: float | None = None

    def hold(self) -> bool:
        """Whether it is ours; takes or renews it when it is time to.

        Raises:
            Unavailable: the store is away, and it is not ours for sure.
        """
        now = self._monotonic()
        if self._etag is not None:
            return now - self._renewed < self._life_s / 4 or self._renew(now)
        if self._looked is not None and now - self._looked < self._life_s / 8:
            return False
        self._looked = now
        try:
            stored = self._store.get(self._key)
        except NotFound:
            return self._write(now, None)
        free = self._holder_in(stored.data) in (_FREE, self._holder)
        if self._seen is None or self._seen[0] != stored.etag:
            self._seen = stored.etag, now
        if free or now - self._seen[1] >= self._life_s:
            return self._write(now, stored.etag)
        return False

    def release(self) -> None:
        """Let another one have it at once. Raises Unavailable."""
        if self._etag is not None:
            etag, self._etag = self._etag, None
            with suppress(PreconditionFailed):
                self._store.put(self._key, self._body(_FREE), if_match=etag)

    def _renew(self, now: float) -> bool:
        try:
            return self._write(now, self._etag)
        except Unavailable:
            if now - self._renewed < self._life_s / 2:
                return True  # nobody else may have it yet
            self._etag = None
            raise

    def _write(self, now: float, etag: str | None) -> bool:
        self._beat += 1
        try:
            self._etag = self._store.put(
                self._key, self._body(self._holder), if_match=etag, if_absent=etag is None
            )
        except PreconditionFailed:
            # Another one has it, or the reply to an earlier write of ours got lost: then the next
            # look finds our own name in it.
            self._etag, self._seen, self._looked = None, None, None
            return False
        self._renewed = now
        return True

    def _body(self, holder: str) -> bytes:
        return json.dumps({"holder": holder, "beat": self._beat}).encode()

    @staticmethod
    def _holder_in(data: bytes) -> str:
        try:
            return str(json.loads(data)["holder"])
        except (ValueError, KeyError, TypeError):
            return _FREE
