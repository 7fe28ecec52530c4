"""The work of a stage: calls in the threads of a pool, timed, and none for who waits no more."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from serving import deadline

K = TypeVar("K")
S = TypeVar("S", bound=Sized)
T = TypeVar("T")


@dataclass(frozen=True)
class Worked(Generic[T]):
    """What a call has returned, and the milliseconds that it took once it had a thread."""

    result: T
    ms: float


async def work(pool: ThreadPoolExecutor, call: Callable[[], T]) -> Worked[T]:
    """Call it in a thread of the pool, with the request's id, trace and deadline.

    Raises:
        TimedOut: nobody waited for it any more when its turn came.
    """

    def checked() -> Worked[T]:
        deadline.check()
        start = time.perf_counter()
        result = call()
        return Worked(result, (time.perf_counter() - start) * 1000)

    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(checked))


@dataclass(frozen=True)
class _Waiting(Generic[K, S, T]):
    kind: K
    item: S
    until: float | None
    answer: asyncio.Future[Worked[T]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Together(Generic[K, S, T]):
    """Items of one kind that wait for a thread at the same time are worked on by one call.

    Nobody waits for others to come: what finds a thread free is worked on at once. (`serve.batch`
    takes what has come when the first one came, and lets it wait for its turn alone.)

    Args:
        pool: with ``threads`` threads.
        call: of a kind and items of it, to as many results.
        most: the lengths of the items of one call together, unless a single one is longer.
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
            TimedOut: nobody waited for it any more when its turn came.
        """
        waiting = _Waiting[K, S, T](kind, item, deadline.current())
        self._waiting.append(waiting)
        self._begin()
        return await waiting.answer

    def _begin(self) -> None:
        while self._free and (batch := self._next()):
            self._free -= 1
            # In a context of its own: the work is nobody's alone.
            task = contextvars.Context().run(asyncio.create_task, self._do(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next(self) -> list[_Waiting[K, S, T]]:
        """What is worked on next: all of the first one's kind, in the order in which they came."""
        batch: list[_Waiting[K, S, T]] = []
        others: deque[_Waiting[K, S, T]] = deque()
        size = 0
        for waiting in self._waiting:
            if waiting.answer.done():  # its caller has left
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
