"""Who acts: the caller of a request or the user of a command, for the record of what was changed.

It goes from a request into the stages beside the deadline, see `serving.stages.calls`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[str | None] = ContextVar("actor", default=None)


def current() -> str | None:
    """The actor, as ``key:NAME``, ``anonymous`` or ``cli:USER``; None: nobody said."""
    return _current.get()


@contextmanager
def acting(actor: str | None) -> Iterator[None]:
    """What is done in this context is done by the actor."""
    token = _current.set(actor)
    try:
        yield
    finally:
        _current.reset(token)
