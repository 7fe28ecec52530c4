"""Limits the rate of each key: token buckets."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from serving.keys import Key


@dataclass
class _Bucket:
    """A token bucket that holds one second's worth."""

    tokens: float
    filled: float


@dataclass
class Rates:
    """The rate of each key, on this replica."""

    clock: Callable[[], float] = time.monotonic
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def take(self, key: Key) -> float:
        """Count one request; 0, or the seconds until the key may send another one."""
        if key.rate is None:
            return 0.0
        now, burst = self.clock(), max(1.0, key.rate)
        bucket = self._buckets.setdefault(key.name, _Bucket(burst, now))
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.filled) * key.rate)
        bucket.filled = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / key.rate
        bucket.tokens -= 1
        return 0.0
