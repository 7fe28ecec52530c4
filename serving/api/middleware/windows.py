"""How many look-ups of a caller may be under way: as many as do not wait long for one another.

What is accepted beyond what the stages can do waits in their queues, and everybody waits with it.
How long a photo waited for its turns, and how long it was worked on, is known with its answer. The
wait is in proportion to the number under way (J. D. C. Little, "A proof for the queuing formula
L = λW", 1961): when one of n look-ups waited f times as long as it may, n / f would have been
right. From there the number grows again while answers come in time, by one in a round or two, as
TCP's congestion avoidance has it (V. Jacobson, "Congestion avoidance and control", 1988).

What Triton does with the faces is not told apart from what they wait there. So the time of a face
is learnt from look-ups that were alone, and what is beyond it counts as waited.

Each caller has a window of its own, since the stages serve callers in turns: who sends much waits
behind himself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serving.errors import Overloaded, ServingError
from serving.pipeline.timings import Timings
from serving.pipeline.units import Meter

# As many as a stream has under way by itself.
LEAST = 4
# The way through Ray and back; it is no queue, even where a photo is worked on for less.
_WAY_MS = 50.0
# Of the difference to the usual time of a face, with each look-up that takes longer.
_RISE = 0.05
# A caller that was away for so long begins anew: the stages may have other replicas by now.
_FORGOTTEN_S = 30.0


class Windows:
    """The windows of all callers, in one replica of the ingress.

    Args:
        max_wait: how long a photo may wait, in times of the work on it; 0: as long as it takes.
        most: of a window.
    """

    def __init__(
        self, max_wait: float, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_wait = max_wait
        self._most = most
        self._clock = clock
        self._windows: dict[str, _Window] = {}
        self._under_way = self._begun = 0  # of all callers
        # Milliseconds that Triton takes for a face when it has nothing else to do for this replica.
        self._embed_ms: float | None = None

    def refusal(self, caller: str) -> ServingError | None:
        """The error to refuse a look-up with, or None."""
        window = self._windows.get(caller)
        if window is None or window.under_way < int(window.size):
            return None
        return Overloaded(
            "Photos have to wait too long for their turns, because more come than can be served; "
            "try again in a moment."
        )

    @contextmanager
    def taken(self, caller: str, meter: Meter) -> Iterator[None]:
        """Count a look-up for the ``with``, and learn from how long it waited."""
        if not self._max_wait:
            yield
            return
        window = self._window(caller)
        window.under_way += 1
        beside = window.under_way
        self._under_way += 1
        self._begun += 1
        alone, begun = self._under_way == 1, self._begun
        try:
            yield
            # Photos of one request wait for each other, whatever else goes on.
            if meter.photos == 1 and (timings := meter.timings) is not None:
                if alone and self._begun == begun:
                    self._learn(timings, meter.faces)
                window.waited(self._factor(timings, meter.faces), beside)
        finally:
            self._under_way -= 1
            window.under_way -= 1
            window.last = self._clock()

    def _factor(self, timings: Timings, faces: int) -> float:
        """How many times as long as it may a photo has waited."""
        embed_ms = None if self._embed_ms is None else self._embed_ms * faces
        waited_ms, worked_ms = timings.waited_and_worked(embed_ms)
        return waited_ms / (self._max_wait * worked_ms + _WAY_MS)

    def _learn(self, timings: Timings, faces: int) -> None:
        """Only from look-ups that were alone: others would raise the usual by what they wait."""
        if not faces or "embed" not in timings.ms:
            return
        took = timings.ms["embed"] / faces
        usual = took if self._embed_ms is None else self._embed_ms
        # Slowly upwards: enrolments, and other replicas of the ingress, use Triton as well.
        self._embed_ms = min(took, usual + _RISE * (took - usual))

    def _window(self, caller: str) -> _Window:
        now = self._clock()
        old = [
            name
            for name, window in self._windows.items()
            if not window.under_way and now - window.last > _FORGOTTEN_S
        ]
        for name in old:
            del self._windows[name]
        return self._windows.setdefault(caller, _Window(self._most, now))


class _Window:
    def __init__(self, most: int, now: float) -> None:
        self.size = float(most)
        self.under_way = 0
        self.last = now
        self._most = most

    def waited(self, factor: float, beside: int) -> None:
        """A look-up has waited ``factor`` times as long as it may, as one of ``beside``."""
        if factor > 1:
            right = max(float(min(LEAST, self._most)), beside / factor)
            # Half of the way: one photo may have waited for another with a hundred faces.
            self.size = min(self.size, (self.size + right) / 2)
        elif 2 * beside >= self.size:
            self.size = min(float(self._most), self.size + 1 / self.size)
