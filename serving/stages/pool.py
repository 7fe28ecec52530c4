"""Runs blocking calls in a thread pool, timed, and skips calls whose deadline has passed."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from serving import deadline
from serving.errors import Overloaded

K = TypeVar("K")
S = TypeVar("S", bound=Sized)
T = TypeVar("T")


@dataclass(frozen=True)
class Worked(Generic[T]):
    """The result of a call, and the milliseconds that it took once it had a thread."""

    result: T
    ms: float


async def work(pool: ThreadPoolExecutor, call: Callable[[], T]) -> Worked[T]:
    """Run ``call`` in a thread of the pool, with the request's id, trace and deadline.

    Raises:
        TimedOut: the deadline had passed when a thread became free.
    """
    return await asyncio.wrap_future(submitted(pool, call))


def submitted(pool: ThreadPoolExecutor, call: Callable[[], T]) -> Future[Worked[T]]:
    """See `work`."""

    def checked() -> Worked[T]:
        deadline.check()
        start = time.perf_counter()
        result = call()
        return Worked(result, (time.perf_counter() - start) * 1000)

    return pool.submit(contextvars.copy_context().run, checked)


class Bounded:
    """A pool for calls of which only a few may run or wait at once; further ones are refused.

    Args:
        most: calls that run or wait.
        sentence: of the error for those that are refused.
    """

    def __init__(self, pool: ThreadPoolExecutor, most: int, sentence: str) -> None:
        self._pool = pool
        self._free = threading.Semaphore(most)
        self._sentence = sentence

    @contextmanager
    def place(self) -> Iterator[BoundedPlace]:
        """Take one of the places until the ``with`` ends and its calls have.

        Raises:
            Overloaded: there is none.
        """
        if not self._free.acquire(blocking=False):
            raise Overloaded(self._sentence)
        place = BoundedPlace(self._pool)
        try:
            yield place
        finally:
            place.when_done(self._free.release)


class BoundedPlace:
    """A place of `Bounded`. A thread cannot be stopped: when the caller leaves, it is free only
    after its call has ended."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._call: Future[Any] | None = None

    async def work(self, call: Callable[[], T]) -> Worked[T]:
        """See `work`."""
        self._call = future = submitted(self._pool, call)
        return await asyncio.wrap_future(future)

    def when_done(self, then: Callable[[], None]) -> None:
        if self._call is None:
            then()
        else:
            self._call.add_done_callback(lambda _: then())


@dataclass(frozen=True)
class _Waiting(Generic[K, S, T]):
    kind: K
    item: S
    until: float | None
    answer: asyncio.Future[Worked[T]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Together(Generic[K, S, T]):
    """Batching without delay: items of one kind that wait for a thread together share one call.

    No item waits for others to arrive: one that finds a thread free is worked on at once.
    (`serve.batch` closes a batch before it waits for a thread, so what arrives meanwhile is left
    to the next one.)

    Args:
        pool: has ``threads`` threads.
        call: takes a kind and items of it, and returns one result for each item.
        most: limit of the summed lengths of a call's items; a longer item goes alone.
    """

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        threads: int,
        call: Callable[[K, Sequence[S]], Sequence[T]],
        most: int,
    ) -> None:
        self._pool = pool
        self._free = threads
        self._call = call
        self._most = most
        self._waiting: deque[_Waiting[K, S, T]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def work(self, kind: K, item: S) -> Worked[T]:
        """The result for ``item``; the time is that of the whole call.

        Raises:
            TimedOut: the deadline had passed when a thread became free.
        """
        waiting = _Waiting[K, S, T](kind, item, deadline.current())
        self._waiting.append(waiting)
        self._begin()
        return await waiting.answer

    def _begin(self) -> None:
        while self._free and (batch := self._next()):
            self._free -= 1
            # In an empty context: a batch belongs to no single request.
            task = contextvars.Context().run(asyncio.create_task, self._do(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next(self) -> list[_Waiting[K, S, T]]:
        """The next batch: the first item and others of its kind, in the order of their arrival."""
        batch: list[_Waiting[K, S, T]] = []
        others: deque[_Waiting[K, S, T]] = deque()
        size = 0
        for waiting in self._waiting:
            if waiting.answer.done():  # its caller has gone away
                continue
            if (error := deadline.missed(waiting.until)) is not None:
                waiting.answer.set_exception(error)
            elif not batch or (
                waiting.kind == batch[0].kind and size + len(waiting.item) <= self._most
            ):
                batch.append(waiting)
                size += len(waiting.item)
            else:
                others.append(waiting)
        self._waiting = others
        return batch

    async def _do(self, batch: Sequence[_Waiting[K, S, T]]) -> None:
        items = [waiting.item for waiting in batch]
        try:
            done = await work(self._pool, lambda: self._call(batch[0].kind, items))
            for waiting, result in zip(batch, done.result, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(Worked(result, done.ms))
        except Exception as error:
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
        finally:
            self._free += 1
            self._begin()
