"""Threads that callers get in turns, so that one who sends much waits behind himself."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from serving import actor, deadline
from serving.stages.pool import Worked, submitted

D = TypeVar("D")
T = TypeVar("T")


class Turns:
    """A pool of threads. Of the callers that wait, the one whose last turn is longest ago is next;
    the calls of each are done in the order of their arrival.

    It lives in one event loop.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = threads
        self._waiting: dict[str | None, deque[asyncio.Future[None]]] = {}
        # Number of each caller's last turn. Callers are the names of keys: there are not many.
        self._last: dict[str | None, int] = {}
        self._number = 0

    async def work(self, get: Callable[[], Awaitable[D]], call: Callable[[D], T]) -> Worked[T]:
        """Wait for a thread, get what the call needs, and run it; see `serving.stages.pool.work`.

        A thread cannot be stopped: when the caller leaves, it is free only after its call has
        ended.

        Args:
            get: called when there is a thread, so that what waits takes no memory.

        Raises:
            TimedOut: the deadline came first.
        """
        await self._granted(actor.current())
        future: Future[Worked[T]] | None = None
        try:
            deadline.check()
            future = submitted(self._pool, functools.partial(call, await get()))
            return await asyncio.wrap_future(future)
        finally:
            if future is None:
                self._next()
            else:
                loop = asyncio.get_running_loop()
                future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._next))
                # A traceback keeps this frame, which shall keep no photo.
                del future

    async def _granted(self, caller: str | None) -> None:
        if self._free:
            self._free -= 1
            self._count(caller)
            return
        granted = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(caller, deque())
        waiting.append(granted)
        until = deadline.current()
        try:
            await asyncio.wait_for(granted, None if until is None else until - time.monotonic())
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._next()
            raise
        except asyncio.TimeoutError:
            deadline.check()
            raise

    def _next(self) -> None:
        """Give a thread that has become free to the next caller."""
        while self._waiting:
            caller = min(self._waiting, key=lambda c: self._last.get(c, -1))
            waiting = self._waiting[caller]
            granted = waiting.popleft()
            if not waiting:
                del self._waiting[caller]
            if not granted.cancelled():  # its caller has not gone away
                self._count(caller)
                granted.set_result(None)
                return
        self._free += 1

    def _count(self, caller: str | None) -> None:
        self._number += 1
        self._last[caller] = self._number
