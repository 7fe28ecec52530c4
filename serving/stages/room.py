"""Room in memory for work that runs in threads: counted before it is taken, and given in order."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from serving import deadline
from serving.errors import TooLarge


class Room:
    """So many bytes for all threads of a replica.

    Whoever finds too few waits, and those that come later wait behind: a large photo is not
    overtaken by small ones for ever. (`serving.api.memory` refuses at once instead: there a client
    that sends its body would wait in a place among the requests in flight.)
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._taken = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, nbytes: int) -> Iterator[None]:
        """Take bytes until the ``with`` ends; blocks the thread while there are too few.

        Raises:
            TooLarge: there are never so many.
            TimedOut: the deadline came first.
        """
        if nbytes > self._total:
            raise TooLarge(
                f"To decode the image would take {_mb(nbytes)} of memory, and there are "
                f"{_mb(self._total)}; send a smaller one, or a JPEG."
            )
        self._take(nbytes)
        try:
            yield
        finally:
            with self._changed:
                self._taken -= nbytes
                self._changed.notify_all()

    def _take(self, nbytes: int) -> None:
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            try:
                while self._waiting[0] is not turn or self._taken + nbytes > self._total:
                    deadline.check()
                    until = deadline.current()
                    self._changed.wait(None if until is None else until - time.monotonic())
                self._taken += nbytes
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()


def _mb(nbytes: int) -> str:
    return f"{nbytes / 1e6:,.0f} MB"
