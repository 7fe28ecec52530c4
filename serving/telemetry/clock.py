"""The metric of a stage's clock. Apart from `serving.telemetry.metrics`, since decoding and
detection load nothing of the gallery.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ray.serve import metrics

_WINDOW_SECONDS = 5.0


class ClockGauge:
    """The metric of a stage's clock.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._ahead = metrics.Gauge(
            "faces_clock_ahead_seconds",
            description="How far the clock of a stage is ahead of its callers'.",
        )
        self._clock = clock
        self._least, self._since = math.inf, clock()

    def seen(self, ahead_s: float) -> None:
        """A call arrived, by the clocks so many seconds after it was sent. The fastest of some
        seconds' calls is the nearest to how the clocks differ."""
        now = self._clock()
        if now - self._since > _WINDOW_SECONDS:
            self._least, self._since = math.inf, now
        self._least = min(self._least, ahead_s)
        self._ahead.set(self._least)
