"""Calls the synchronous or the asynchronous client, with a clock that only sleeping advances."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from serving.client import AsyncClient, Client


class Time:
    """A clock that only sleeping advances."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def asleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Caller:
    """Calls one method of a fresh client, whose retries take no real time."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url: str | None = url
        self.time = Time()
        self.options: dict[str, Any] = {}

    def __call__(self, method: str, *args: Any, **options: Any) -> Any:
        if self.kind == "sync":
            return self._sync(method, *args, **options)
        return asyncio.run(self._async(method, *args, **options))

    def _sync(self, method: str, *args: Any, **options: Any) -> Any:
        time = self.time
        with Client(self.url, sleep=time.sleep, clock=time.now, **self.options) as client:
            answer = getattr(client, method)(*args, **options)
            return list(answer) if isinstance(answer, Iterator) else answer

    async def _async(self, method: str, *args: Any, **options: Any) -> Any:
        time = self.time
        async with AsyncClient(
            self.url, sleep=time.asleep, clock=time.now, **self.options
        ) as client:
            answer = getattr(client, method)(*args, **options)
            if isinstance(answer, AsyncIterator):
                return [item async for item in answer]
            return await answer
