"""Limits the rate of each key in units of work (`serving.pipeline.units`): token buckets.

What a request costs is known when its photos have been seen. Until then it costs one unit; what it
costs more is taken afterwards, and the key waits until its bucket has filled again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from serving.keys import Key


@dataclass
class _Bucket:
    """A token bucket that holds one second's worth; below 0 it is in debt."""

    tokens: float
    filled: float


@dataclass
class Rates:
    """The rate of each key, on this replica."""

    clock: Callable[[], float] = time.monotonic
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def take(self, key: Key) -> float:
        """Count a unit for a request; 0, or the seconds until the key may send another one."""
        if key.rate is None:
            return 0.0
        bucket = self._filled(key.name, key.rate)
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / key.rate
        bucket.tokens -= 1
        return 0.0

    def spend(self, key: Key, units: int) -> None:
        """Count further units of a request that was let in."""
        if key.rate is not None:
            self._filled(key.name, key.rate).tokens -= units

    def _filled(self, name: str, rate: float) -> _Bucket:
        now, burst = self.clock(), max(1.0, rate)
        bucket = self._buckets.setdefault(name, _Bucket(burst, now))
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.filled) * rate)
        bucket.filled = now
        return bucket
