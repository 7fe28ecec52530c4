"""Observers of a gallery: called for its requests, refreshes and commits, for metrics and logs."""

from __future__ import annotations

from typing import Protocol

from serving.errors import ServingError


class Observer(Protocol):
    """Called when something has ended, with the seconds that it took.

    Called from several threads, in the context of the caller. Must be quick and never raise.
    """

    def requested(self, operation: str, outcome: str, seconds: float) -> None:
        """One request to the object store; each retry counts as a request.

        Args:
            operation: get, put, delete or list.
            outcome: ok, unchanged, not-found, stale (a condition was not met), unfit, unreachable,
                or error (another answer of the store).
        """

    def refreshed(self, outcome: str, seconds: float) -> None:
        """One refresh from the store; ``outcome`` is ok or the error's type, see `outcome_of`."""

    def conflicted(self) -> None:
        """A commit lost the race against another process and starts again."""

    def committed(self, outcome: str, callers: int, seconds: float) -> None:
        """One commit of the operations of ``callers`` callers; ``outcome`` as for `refreshed`."""


class _Nobody:
    def requested(self, operation: str, outcome: str, seconds: float) -> None:
        pass

    def refreshed(self, outcome: str, seconds: float) -> None:
        pass

    def conflicted(self) -> None:
        pass

    def committed(self, outcome: str, callers: int, seconds: float) -> None:
        pass


NOBODY: Observer = _Nobody()


def outcome_of(error: BaseException | None) -> str:
    """``ok``, the type of one of our errors (unavailable, conflict…), or ``error``."""
    if error is None:
        return "ok"
    return error.type if isinstance(error, ServingError) else "error"
