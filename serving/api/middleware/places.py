"""Limits the requests in flight of a replica, and each caller's share of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from serving.errors import Overloaded, ServingError, TooManyRequests


class Places:
    """The places of requests in flight.

    Args:
        most: places of one replica.
        share: the part of them that one key may take, 0 to 1.
    """

    def __init__(self, most: int, share: float) -> None:
        self._most = most
        self.of_one = max(1, int(most * share))
        self._taken: Counter[str] = Counter()
        self._photos: dict[str, asyncio.Semaphore] = {}
        # A stream has a few photos under way at once, which take places as requests do.
        self.streams = self.of_one
        self.streams_of_one = max(1, self.streams // 4)
        self._streaming: Counter[str] = Counter()

    def refusal(self, caller: str, *, alone: bool) -> ServingError | None:
        """The error to refuse a request with, or None.

        Args:
            caller: the name of its key.
            alone: there are no other callers, so this one may take all places.
        """
        if self._taken.total() >= self._most:
            return Overloaded("Too many requests at once; try again in a moment.")
        if not alone and self._taken[caller] >= self.of_one:
            return TooManyRequests(
                f"The key {caller!r} has {self._taken[caller]} requests under way here, and may "
                f"have {self.of_one}; try again when one of them is answered."
            )
        return None

    def photos_of(self, caller: str) -> asyncio.Semaphore:
        """The photos that are worked on for one key at once: as many as it may have requests,
        however many photos each of them has."""
        return self._photos.setdefault(caller, asyncio.Semaphore(self.of_one))

    def taken(self, caller: str) -> AbstractContextManager[None]:
        """Take a place for the ``with``."""
        return _counted(self._taken, caller)

    def stream_refusal(self, caller: str, *, alone: bool) -> ServingError | None:
        """`refusal` of a stream. It takes no place for itself, since it may be idle for long; so
        their number is limited."""
        if self._streaming.total() >= self.streams:
            return Overloaded("Too many streams at once; try again in a moment.")
        if not alone and self._streaming[caller] >= self.streams_of_one:
            return TooManyRequests(
                f"The key {caller!r} has {self._streaming[caller]} streams under way here, and may "
                f"have {self.streams_of_one}; try again when one of them has ended."
            )
        return None

    def streaming(self, caller: str) -> AbstractContextManager[None]:
        """Count a stream for the ``with``."""
        return _counted(self._streaming, caller)


@contextmanager
def _counted(counter: Counter[str], caller: str) -> Iterator[None]:
    counter[caller] += 1
    try:
        yield
    finally:
        counter[caller] -= 1
        if not counter[caller]:
            del counter[caller]
