"""Until when the caller of a request waits: past it no stage begins to work for him.

The time goes with every call of a stage (`serving.stages.calls`), as seconds since 1970: what
waited in a queue has waited, too. The clocks of the nodes have to agree to well under a request's
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
    """Seconds since 1970; None: there is no deadline."""
    return _until.get()


@contextmanager
def until(deadline: float | None) -> Iterator[None]:
    """What is awaited inside of the ``with`` is wanted until then."""
    token = _until.set(deadline)
    try:
        yield
    finally:
        _until.reset(token)


def missed(deadline: float | None) -> TimedOut | None:
    """The error of who has waited past it; None: it is not past."""
    if deadline is None or time.time() <= deadline:
        return None
    return TimedOut("Nobody waits for this any more; it was not begun.")


def check() -> None:
    """Raises TimedOut when nobody waits any more."""
    if (error := missed(current())) is not None:
        raise error
