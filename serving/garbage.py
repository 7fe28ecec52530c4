"""Garbage collection soon after a call was given up, so that its photo goes.

Ray keeps the arguments of a call that is cancelled, and an answer that nobody took, in the frames
of an exception that refers to itself in a circle. Among what has lived for a while Python looks for
circles only when there is a quarter more of it, which may take hours; so long a photo would stay.
"""

from __future__ import annotations

import asyncio
import gc
from weakref import WeakKeyDictionary

SECONDS = 3.0
# The stages are told at once, but their threads end when they have done what they began.
_TIMES = 5

# Event loop -> when it was last asked; as long as it collects.
_asked: WeakKeyDictionary[asyncio.AbstractEventLoop, float] = WeakKeyDictionary()


def begin() -> None:
    """Leave out what the process has loaded until now, so that collecting takes milliseconds.

    Before the first request: what is left out is never collected.
    """
    gc.collect()
    gc.freeze()


def collect_soon() -> None:
    """Collect every `SECONDS`, until it was done `_TIMES` times since this was called last."""
    loop = asyncio.get_running_loop()
    collects = loop in _asked
    _asked[loop] = loop.time()
    if not collects:
        loop.call_later(SECONDS, _collect, loop)


def _collect(loop: asyncio.AbstractEventLoop) -> None:
    gc.collect()
    if loop.time() - _asked[loop] < _TIMES * SECONDS:
        loop.call_later(SECONDS, _collect, loop)
    else:
        del _asked[loop]
