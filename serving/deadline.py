"""The deadline of a request: past it no stage begins to work for its caller.

Inside a process it is a time of its monotonic clock. To another process goes what is left of it
(`Left`), and is counted on there, so the clocks of the nodes need not agree, and a step of one ends
nothing. What is left is measured when the call is serialized, which Serve does once it has a
replica for it, anew for each replica that it tries: the time in a caller's queue counts. Not
counted is the time on the wire, and until the replica takes up the message.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from serving.errors import TimedOut


class Left:
    """A deadline that can be sent: serialized, it is what is left of it.

    Attributes:
        until: the deadline, by this process's monotonic clock.
        ahead_s: by how much this process's wall clock was ahead of the sender's when it arrived;
            the time on the way is in it. None: it was not sent.
    """

    def __init__(self, until: float, ahead_s: float | None = None) -> None:
        self.until = until
        self.ahead_s = ahead_s

    def __reduce__(self) -> tuple[Callable[[float, float], Left], tuple[float, float]]:
        return _arrived, (self.until - time.monotonic(), time.time())


def _arrived(left_s: float, sent: float) -> Left:
    return Left(time.monotonic() + left_s, time.time() - sent)


_until: ContextVar[float | None] = ContextVar("until", default=None)


def current() -> float | None:
    """The current deadline, by the monotonic clock; None: there is none."""
    return _until.get()


@contextmanager
def until(deadline: float | None) -> Iterator[None]:
    """Set the deadline for what is awaited inside the ``with``."""
    token = _until.set(deadline)
    try:
        yield
    finally:
        _until.reset(token)


def missed(deadline: float | None) -> TimedOut | None:
    """A TimedOut error if the deadline has passed, else None."""
    if deadline is None or time.monotonic() <= deadline:
        return None
    return TimedOut("The caller's deadline has passed; the work was not started.")


def check() -> None:
    """Raise TimedOut if the current deadline has passed."""
    if (error := missed(current())) is not None:
        raise error
