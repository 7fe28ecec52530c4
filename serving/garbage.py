"""Garbage collection soon after a call was given up, so that its photo goes.

Ray keeps the arguments of a call that is cancelled, and an answer that nobody took, in the frames
of an exception that refers to itself in a circle. Among what has lived for a while Python looks for
circles only when there is a quarter more of it, which may take hours; so long a photo would stay.
"""

from __future__ import annotations

import asyncio
import gc
from weakref import WeakSet

# By then the stages have been told, and their threads are done.
SECONDS = 3.0

_planned: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


def begin() -> None:
    """Leave out what the process has loaded until now, so that collecting takes milliseconds.

    Before the first request: what is left out is never collected.
    """
    gc.collect()
    gc.freeze()


def collect_soon() -> None:
    """Collect once in `SECONDS`, however often this is called until then."""
    loop = asyncio.get_running_loop()
    if loop not in _planned:
        _planned.add(loop)
        loop.call_later(SECONDS, _collect, loop)


def _collect(loop: asyncio.AbstractEventLoop) -> None:
    _planned.discard(loop)
    gc.collect()
