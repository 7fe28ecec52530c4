"""One call for all who ask together, and none that began before it was asked for."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from serving.errors import Unavailable
from serving.gallery import Gallery
from serving.gallery.location import Location
from serving.pipeline.freshness import Shared, Versions
from serving.settings import GallerySettings
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, LOCATION, MODEL, put


class Source:
    """Answers with the number of the call; each call waits until it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.failures: dict[int, Exception] = {}
        self.go = asyncio.Semaphore(0)

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        await self.go.acquire()
        if number in self.failures:
            raise self.failures[number]
        return number

    def let(self, calls: int) -> None:
        for _ in range(calls):
            self.go.release()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_those_who_ask_together_share_one_call() -> None:
    async def run() -> None:
        source = Source()
        shared = Shared(source)
        source.let(9)
        assert await asyncio.gather(*(shared() for _ in range(5))) == [1] * 5
        assert await shared() == 2

    asyncio.run(run())


def test_nobody_gets_the_result_of_a_call_that_began_before_he_asked() -> None:
    async def run() -> None:
        source = Source()
        shared = Shared(source)
        early = asyncio.create_task(shared())
        await settle()
        assert source.begun == 1
        late = [asyncio.create_task(shared()) for _ in range(3)]
        await settle()
        assert source.begun == 1  # one call at a time
        source.let(1)
        assert await early == 1
        source.let(1)
        assert await asyncio.gather(*late) == [2, 2, 2]

    asyncio.run(run())


def test_who_asks_while_the_next_one_waits_to_begin_joins_it() -> None:
    async def run() -> None:
        source = Source()
        shared = Shared(source)
        tasks = []
        for _ in range(3):
            tasks.append(asyncio.create_task(shared()))
            await settle()
        source.let(2)
        assert await asyncio.gather(*tasks) == [1, 2, 2]

    asyncio.run(run())


def test_a_failure_is_told_to_its_own_callers_alone() -> None:
    async def run() -> None:
        source = Source()
        source.failures[1] = Unavailable("The store is away.")
        shared = Shared(source)
        early = [asyncio.create_task(shared()) for _ in range(2)]
        await settle()
        late = asyncio.create_task(shared())
        source.let(2)
        for task in early:
            with pytest.raises(Unavailable):
                await task
        assert await late == 2

    asyncio.run(run())


def test_a_caller_who_goes_away_takes_nothing_from_the_others() -> None:
    async def run() -> None:
        source = Source()
        shared = Shared(source)
        leaving, staying = asyncio.create_task(shared()), asyncio.create_task(shared())
        await settle()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        source.let(1)
        assert await staying == 1

    asyncio.run(run())


def test_a_caller_who_goes_away_before_the_call_begins_blocks_nobody() -> None:
    async def run() -> None:
        source = Source()
        shared = Shared(source)
        running = asyncio.create_task(shared())
        await settle()
        leaving = asyncio.create_task(shared())
        await settle()
        leaving.cancel()
        await settle()
        staying = asyncio.create_task(shared())
        source.let(2)
        assert list(await asyncio.gather(running, staying)) == [1, 2]

    asyncio.run(run())


class TestVersions:
    LOCATION = Location("default", MODEL, DIMENSION)

    @staticmethod
    def of(store: MemoryStore, limit: float = 0.05) -> Versions:
        return Versions(
            GallerySettings(freshness_timeout_s=limit), connect=lambda settings, observer: store
        )

    def test_the_version_is_that_of_the_store(self) -> None:
        store = MemoryStore()
        gallery = Gallery(store, "galleries", LOCATION)

        async def run() -> None:
            versions = self.of(store, 10)
            assert await versions.now(self.LOCATION) == 0
            gallery.commit([put(1)])
            assert await versions.now(self.LOCATION) == 1

        asyncio.run(run())

    def test_a_store_that_is_away_tells_none(self) -> None:
        store = MemoryStore()

        def away(request: str, key: str) -> None:
            raise Unavailable("The store is away.")

        store.before = away
        assert asyncio.run(self.of(store).now(self.LOCATION)) is None

    def test_a_store_that_hangs_delays_nobody_for_longer_than_the_setting(self) -> None:
        store, go, asked = MemoryStore(), threading.Event(), []

        def hang(request: str, key: str) -> None:
            asked.append(key)
            go.wait(10)

        store.before = hang

        async def run() -> None:
            versions = self.of(store)
            try:
                assert await asyncio.gather(*(versions.now(self.LOCATION) for _ in range(5))) == (
                    [None] * 5
                )
                assert len(asked) == 1  # they do not heap up
            finally:
                go.set()
            assert await self.of(store, 10).now(self.LOCATION) == 0

        asyncio.run(run())

    def test_a_store_that_hangs_takes_none_of_the_threads_that_read_requests(self) -> None:
        store, go = MemoryStore(), threading.Event()

        def hang(request: str, key: str) -> None:
            go.wait(10)

        store.before = hang

        async def run() -> None:
            versions = self.of(store)
            locations = [Location(f"c{n}", MODEL, DIMENSION) for n in range(40)]
            try:
                await asyncio.gather(*(versions.now(location) for location in locations))
                assert await asyncio.wait_for(asyncio.to_thread(len, "abc"), 5) == 3
            finally:
                go.set()

        asyncio.run(run())

    def test_its_client_gives_up_soon(self) -> None:
        """So that the first question after the store is back does not wait for an old one."""
        connected: list[GallerySettings] = []

        def connect(settings: GallerySettings, observer: object) -> MemoryStore:
            connected.append(settings)
            return MemoryStore()

        settings = GallerySettings(freshness_timeout_s=0.5, connect_timeout_s=0.2)
        asyncio.run(Versions(settings, connect=connect).now(self.LOCATION))
        (used,) = connected
        assert (used.connect_timeout_s, used.read_timeout_s) == (0.2, 0.5)

    def test_the_client_is_made_once_and_not_on_the_event_loop(self) -> None:
        made: list[str] = []

        def connect(settings: GallerySettings, observer: object) -> MemoryStore:
            made.append(threading.current_thread().name)
            time.sleep(0.1)  # longer than the limit of a look
            return MemoryStore()

        async def run() -> list[int | None]:
            versions = Versions(GallerySettings(freshness_timeout_s=0.05), connect=connect)
            locations = [Location(f"c{n}", MODEL, DIMENSION) for n in range(3)]
            return await asyncio.gather(*(versions.now(location) for location in locations))

        assert asyncio.run(run()) == [0, 0, 0]
        assert len(made) == 1
        assert made[0].startswith("version")
