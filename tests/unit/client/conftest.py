"""Both clients behind one face: what is tested of one holds for the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.client import AsyncClient, Client
from tests.support.service import FakeService, fake_service


class Time:
    """Seconds that pass when somebody sleeps, and only then."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def asleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Caller:
    """Calls one method of a fresh client, which waits for nothing in earnest."""

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


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service() as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, service: FakeService) -> Caller:
    return Caller(request.param, service.url)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"photo")
    return path
