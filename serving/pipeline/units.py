"""Units of work: what a request costs, so that rates and shares count more than requests.

One unit is an ordinary request. A photo costs one for each 12 megapixels or 10 faces that it has
begun, whichever is more; a request costs what its photos do, and one at least.

The caller's `Meter` goes with the request through all of its tasks, as its deadline does.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from serving.pipeline.timings import Timings
from serving.vision.records import Faces

_PIXELS, _FACES = 12_000_000, 10


class Meter:
    """Counts the units of one request.

    Args:
        photos: of the caller, all of its requests together, that may be worked on at once; None:
            any number.

    Attributes:
        photos: that were begun.
        faces: that were taken from them.
        timings: of the last photo.
    """

    def __init__(self, photos: asyncio.Semaphore | None = None) -> None:
        self.photos = 0
        self.faces = 0
        self.timings: Timings | None = None
        self._units = 0
        self._at_once = photos

    @property
    def units(self) -> int:
        return max(1, self._units)

    def add(self, units: int) -> None:
        self._units += units

    @asynccontextmanager
    async def photo(self, timings: Timings) -> AsyncIterator[None]:
        """Wait until one more photo of the caller may be worked on."""
        self.photos += 1
        self.timings = timings
        if self._at_once is None:
            yield
            return
        async with self._at_once:
            yield


_meter: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def metered(meter: Meter) -> Iterator[None]:
    """Count the work of the ``with``, and of the tasks that it starts, by this meter."""
    token = _meter.set(meter)
    try:
        yield
    finally:
        _meter.reset(token)


def current() -> Meter:
    """The meter of the current request; one that is thrown away where there is none."""
    return _meter.get() or Meter()


def units_of(faces: Faces) -> int:
    """The cost of a photo, all of whose faces were looked for."""
    return max(1, math.ceil(faces.pixels / _PIXELS), math.ceil(faces.found / _FACES))
