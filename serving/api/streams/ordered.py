"""Works on several things of a stream at once, and gives out the results in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Generic, TypeVar

from serving.errors import ServingError

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")


class InOrder(Generic[I, R]):
    """The results of ``work`` on each item.

    There are never more than ``at_once`` items that are taken and whose results are not given out:
    the next one is taken only then. An error of the source comes after the results of all items
    before it.

    Args:
        source: the next item; None: there are no more.
        work: called with the number of an item, from 0, and the item.
    """

    def __init__(
        self,
        source: Callable[[], Awaitable[I | None]],
        work: Callable[[int, I], Awaitable[R]],
        at_once: int,
    ) -> None:
        self._source = source
        self._work = work
        self._at_once = at_once
        self._under_way: deque[asyncio.Future[R]] = deque()

    @property
    def busy(self) -> bool:
        """Whether there is work whose result is not given out."""
        return bool(self._under_way)

    async def results(self) -> AsyncGenerator[R, None]:
        """To be closed (`contextlib.aclosing`): that cancels what is under way, and waits until it
        has ended."""
        tasks, number = self._under_way, 0
        taking: asyncio.Future[I | None] | None = None
        failure: ServingError | None = None
        more = True
        try:
            while True:
                if more and taking is None and len(tasks) < self._at_once:
                    taking = asyncio.ensure_future(self._source())
                waiting: set[asyncio.Future[R] | asyncio.Future[I | None]] = set()
                if taking is not None:
                    waiting.add(taking)
                if tasks:
                    waiting.add(tasks[0])
                if not waiting:
                    break
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if taking is not None and taking.done():
                    taken, taking = taking, None
                    try:
                        item = taken.result()
                    except ServingError as error:
                        item, failure = None, error
                    if item is None:
                        more = False
                    else:
                        tasks.append(asyncio.ensure_future(self._work(number, item)))
                        number += 1
                if tasks and tasks[0].done():
                    yield tasks.popleft().result()
        finally:
            rest: list[asyncio.Future[Any]] = [*tasks]
            if taking is not None:
                rest.append(taking)
            tasks.clear()
            for task in rest:
                task.cancel()
            # Their failures are of nobody's interest any more.
            await asyncio.gather(*rest, return_exceptions=True)
        if failure is not None:
            raise failure
