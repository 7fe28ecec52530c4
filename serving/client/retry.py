"""Retries of a call: the number of attempts, and the random pauses between them."""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable
from dataclasses import dataclass

from serving.client.exchange import Failed


@dataclass(frozen=True)
class Retry:
    """The limits of retries.

    Attributes:
        attempts: the most times that a call is sent; 1: no retries.
        total_s: no attempt begins later than this many seconds after the call.
        first_s: the pause before the second attempt is random, up to this; the limit doubles with
            each further attempt.
        longest_s: the highest limit of a pause.
    """

    attempts: int = 4
    total_s: float = 60.0
    first_s: float = 0.25
    longest_s: float = 8.0

    def __post_init__(self) -> None:
        """Raises ValueError or TypeError: a limit is none."""
        if operator.index(self.attempts) < 1:
            raise ValueError("attempts is 1 or more.")
        for name in ("total_s", "first_s", "longest_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is 0 or more seconds.")


class Attempts:
    """The attempts of one call.

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
        # Added to what the service asks for, so that clients refused together do not return
        # together.
        pause = (failed.error.retry_after or 0.0) + random.uniform(0, longest)
        if self._clock() - self._start + pause > retry.total_s:
            raise failed.error from None
        return pause
