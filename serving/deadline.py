"""The deadline of a request: past it no stage begins to work for its caller.

The deadline goes with every call of a stage (`serving.stages.calls`), as seconds since 1970, so
that time in a queue counts, too. The clocks of the nodes have to agree to well under a request's
limit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from serving.errors import TimedOut

_until: ContextVar[float | None] = ContextVar("until", default=None)


def current() -> float | None:
    """The current deadline in seconds since 1970; None: there is none."""
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
    if deadline is None or time.time() <= deadline:
        return None
    return TimedOut("The caller's deadline has passed; the work was not started.")


def check() -> None:
    """Raise TimedOut if the current deadline has passed."""
    if (error := missed(current())) is not None:
        raise error
