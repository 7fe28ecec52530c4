"""The people of a snapshot whose retention has not ended."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Kept:
    """Counts them again only when the next one's has ended: a search among a million people must
    not look at all of their dates. Threads need no lock: the last count is replaced as a whole."""

    def __init__(self) -> None:
        # From when until when it holds, the mask, and the number of people in it.
        self._last: tuple[float, float, NDArray[np.bool_], int] | None = None

    def of(
        self, alive: NDArray[np.bool_], ends: NDArray[np.float64], now: float
    ) -> tuple[NDArray[np.bool_], int]:
        """Those of ``alive`` who end after ``now``, and how many; ``alive`` itself: all of them.

        Args:
            alive: bool (C,): the same each time.
            ends: float64 (C,), in seconds since 1970.
        """
        last = self._last
        if last is None or not last[0] <= now < last[1]:
            since, kept = -np.inf, alive
            until = np.min(ends, where=kept, initial=np.inf)
            if until <= now:
                since, kept = now, alive & (ends > now)
                until = np.min(ends, where=kept, initial=np.inf)
            last = self._last = float(since), float(until), kept, int(kept.sum())
        return last[2], last[3]
