"""How often a call is sent, and what lies between."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from serving.client.exchange import Failed


@dataclass(frozen=True)
class Retry:
    """When to give up.

    Attributes:
        attempts: how often a call is sent at most; 1: never again.
        total_s: no attempt begins later than so many seconds after the call.
        first_s: the pause before the second attempt is random, up to this; before each further one
            up to twice as long as before the last.
        longest_s: but not longer than this.
    """

    attempts: int = 4
    total_s: float = 60.0
    first_s: float = 0.25
    longest_s: float = 8.0


class Attempts:
    """Those of one call.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, retry: Retry, clock: Callable[[], float]) -> None:
        self._retry = retry
        self._clock = clock
        self._start = clock()
        self._failures = 0

    def pause(self, failed: Failed) -> float:
        """Seconds to wait before the next attempt. Raises the failure's error if there is none."""
        self._failures += 1
        retry = self._retry
        if not failed.again or self._failures >= retry.attempts:
            raise failed.error from None
        longest = min(retry.longest_s, retry.first_s * 2 ** (self._failures - 1))
        # On top of what the service asks for, so that those whom it sent away do not come back as
        # one.
        pause = (failed.error.retry_after or 0.0) + random.uniform(0, longest)
        if self._clock() - self._start + pause > retry.total_s:
            raise failed.error from None
        return pause
