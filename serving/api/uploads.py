"""The least rate of uploads: a body that drips in must not hold its caller's place."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Upload:
    """The body of one request, and how long its bytes were waited for.

    Attributes:
        least: bytes a second that have to arrive on average; 0: any rate will do.
        grace_s: seconds that no bytes are needed for.
    """

    least: float
    grace_s: float
    _bytes: int = 0
    _waited_s: float = 0.0

    def patience_s(self) -> float:
        """Seconds that the next bytes may take."""
        if not self.least:
            return math.inf
        return max(0.0, self.grace_s + self._bytes / self.least - self._waited_s)

    def received(self, size: int, waited_s: float) -> None:
        """Count bytes, and the seconds in which they were waited for; not those in which the
        service itself was busy with the bytes before them."""
        self._bytes += size
        self._waited_s += waited_s
