"""Two processes on one gallery, the requests of one at chosen places between those of the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from tests.support.memory_store import MemoryStore

T = TypeVar("T")


class AtOnce(Executor):
    """An executor without threads, so that requests come in the same order each time."""

    def __init__(self, workers: int) -> None:
        pass

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


class Beside:
    """Runs ``other`` in the middle of what this thread does with the store: up to its request
    ``pauses_at`` before the ``starts_at``-th request of this thread, and the rest of it before the
    ``goes_on_at``-th one, or in `finish`.

    Attributes:
        requests, others: requests of this thread, and of ``other``.
        outcome: what ``other`` returned, or the error that it raised.
    """

    def __init__(
        self,
        store: MemoryStore,
        other: Callable[[], object],
        *,
        starts_at: int,
        pauses_at: int,
        goes_on_at: int,
    ) -> None:
        self.requests = self.others = 0
        self.outcome: object = None
        self._other = other
        self._starts_at, self._pauses_at, self._goes_on_at = starts_at, pauses_at, goes_on_at
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._waits, self._may_go_on = threading.Event(), threading.Event()
        self._store = store
        store.before = self._before

    def finish(self) -> None:
        """Let ``other`` come to its end, if it has begun."""
        self._store.before = lambda request, key: None
        self._may_go_on.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self.outcome = self._other()
        except Exception as error:
            self.outcome = error
        finally:
            self._waits.set()

    def _before(self, request: str, key: str) -> None:
        if threading.current_thread() is self._thread:
            self.others += 1
            if self.others == self._pauses_at:
                self._waits.set()
                self._may_go_on.wait()
            return
        self.requests += 1
        if self.requests == self._starts_at:
            self._thread.start()
            self._waits.wait()
        if self.requests == self._goes_on_at and self._thread.ident is not None:
            self._may_go_on.set()
            self._thread.join()
