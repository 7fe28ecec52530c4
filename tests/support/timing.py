"""Bounds for the time that code takes."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def processor_seconds(most: float) -> Iterator[None]:
    """The block takes less of this thread's time on the processor, in seconds.

    Without garbage collection, which would look through all that the tests before have left, and
    without what other threads of theirs do.
    """
    gc.disable()
    start = time.thread_time()
    try:
        yield
        taken = time.thread_time() - start
    finally:
        gc.enable()
    assert taken < most
