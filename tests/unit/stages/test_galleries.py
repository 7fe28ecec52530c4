"""The galleries of a match replica: opening, following, evicting, and what is shown of them."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.errors import GalleryCorrupt, GalleryTooLarge, Overloaded, Unavailable
from serving.gallery import Gallery, Kind, Operation, Segment, Snapshot
from serving.gallery.disk import Disk
from serving.gallery.location import Location
from serving.gallery.store import Store, StoredObject, check_conditional_writes
from serving.settings import GallerySettings
from serving.stages.galleries import Galleries
from serving.telemetry.metrics import GalleryGauges
from tests.support.galleries import away, open_gallery
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, LOCATION, MODEL, put, unit_rows

SHOP, BANK = (Location(name, MODEL, DIMENSION) for name in ("shop", "bank"))


class Gauges(GalleryGauges):
    """Notes what it is given."""

    def __init__(self) -> None:
        self.notes: list[tuple[Any, ...]] = []

    def show(self, location: Location, snapshot: Snapshot, problem: str | None) -> None:
        self.notes.append((location, snapshot.version, problem))

    def unopened(self, location: Location) -> None:
        self.notes.append((location, "unopened"))

    def forget(self, location: Location) -> None:
        self.notes.append((location, "forgotten"))

    def unconfirmed(self) -> None:
        self.notes.append(("unconfirmed",))


class LocalGalleries(Galleries):
    """Over a store in memory."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        most: int = 8,
        limit: float = 10,
        memory: int = 2**30,
        disk: Disk | None = None,
    ) -> None:
        self.bucket = MemoryStore()
        self.gauges = Gauges()
        settings = GallerySettings(freshness_timeout_s=limit)
        super().__init__(settings, most, memory, self._opened, pool, self.gauges, disk=disk)

    def _opened(self) -> Store:
        check_conditional_writes(self.bucket, "galleries")
        return self.bucket

    @property
    def held(self) -> list[Location]:
        return list(self._held)

    async def commit(self, location: Location, person: int) -> None:
        (await self.gallery(location)).commit([put(person)])

    async def people(self, location: Location, at_least: int | None = 0) -> list[int]:
        return [p.id for p in (await self.snapshot(location, at_least)).list(10)]


Made = Callable[..., LocalGalleries]


@pytest.fixture
def made() -> Iterator[Made]:
    with ThreadPoolExecutor(2) as pool:
        yield lambda **options: LocalGalleries(pool, **options)


@pytest.fixture
def galleries(made: Made) -> LocalGalleries:
    return made()


@pytest.fixture
def elsewhere(galleries: LocalGalleries) -> Gallery:
    """The default gallery, written by another process."""
    return open_gallery(galleries.bucket)


class TestSnapshot:
    def test_it_follows_to_the_version_that_is_asked_for(
        self, galleries: LocalGalleries, elsewhere: Gallery
    ) -> None:
        async def run() -> None:
            await galleries.load(LOCATION)
            elsewhere.commit([put(1)])
            assert await galleries.people(LOCATION, 0) == []
            assert await galleries.people(LOCATION, 1) == [1]

        asyncio.run(run())

    def test_what_is_loaded_is_served_while_the_store_is_away(
        self, galleries: LocalGalleries, elsewhere: Gallery
    ) -> None:
        elsewhere.commit([put(1)])

        async def run() -> None:
            await galleries.load(LOCATION)
            galleries.bucket.before = away
            assert await galleries.people(LOCATION, None) == [1]
            assert await galleries.people(LOCATION, 1) == [1]
            with pytest.raises(Unavailable):
                await galleries.people(LOCATION, 2)

        asyncio.run(run())

    def test_damage_leaves_those_who_were_read_before(
        self, galleries: LocalGalleries, elsewhere: Gallery, caplog: pytest.LogCaptureFixture
    ) -> None:
        elsewhere.commit([put(1)])

        async def run() -> None:
            await galleries.load(LOCATION)
            objects = galleries.bucket.objects
            before = set(objects)
            elsewhere.commit([put(2)])
            (new,) = set(objects) - before
            sound = objects[new]
            objects[new] = StoredObject(b"damaged", '"x"')
            with caplog.at_level(logging.CRITICAL):
                assert await galleries.people(LOCATION, 2) == [1]
                status = await galleries.status(LOCATION)
            assert (status.loaded, status.version, status.people) == (True, 1, 1)
            assert "damaged" in str(status.problem)
            objects[new] = sound
            status = await galleries.status(LOCATION)
            assert (status.version, status.people, status.photos) == (2, 2, 2)
            assert status.problem is None

        asyncio.run(run())

    def test_damage_from_the_start_is_an_error(
        self, galleries: LocalGalleries, elsewhere: Gallery
    ) -> None:
        elsewhere.commit([put(1)])
        (segment,) = (key for key in galleries.bucket.objects if "/segments/" in key)
        del galleries.bucket.objects[segment]
        with pytest.raises(GalleryCorrupt):
            asyncio.run(galleries.people(LOCATION, None))

    def test_threads_work_in_the_context_of_the_request(self, galleries: LocalGalleries) -> None:
        request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
        seen: set[str] = set()
        galleries.bucket.before = lambda name, key: seen.add(request.get())

        async def run() -> None:
            request.set("abc-1")
            await galleries.load(LOCATION)

        asyncio.run(run())
        assert seen == {"abc-1"}


class TestStatus:
    def test_a_store_that_is_away_from_the_start_is_no_empty_gallery(
        self, galleries: LocalGalleries
    ) -> None:
        galleries.bucket.before = away

        async def run() -> None:
            with pytest.raises(Unavailable):
                await galleries.people(LOCATION, None)
            status = await galleries.status(LOCATION)
            assert not status.loaded
            assert status.problem == "The store is away."

        asyncio.run(run())

    def test_a_store_that_hangs_keeps_nobody_from_knowing_the_state(self, made: Made) -> None:
        galleries = made(limit=0.05)
        open_gallery(galleries.bucket).commit([put(1)])
        go = threading.Event()

        def hang(request: str, key: str) -> None:
            go.wait(10)

        async def run() -> None:
            await galleries.load(LOCATION)
            galleries.bucket.before = hang
            try:
                status = await asyncio.wait_for(galleries.status(LOCATION), 5)
            finally:
                go.set()
            assert (status.loaded, status.version, status.people) == (True, 1, 1)
            assert "within 0.05 s" in str(status.problem)
            assert await galleries.people(LOCATION, 1) == [1]

        asyncio.run(run())

    def test_the_problem_of_one_collection_is_not_that_of_another(
        self, galleries: LocalGalleries, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Asked at once, so that the one fails while the other is looked at."""

        async def run() -> None:
            for location in (SHOP, BANK):
                await galleries.commit(location, 1)
                await galleries.load(location)
            for key in list(galleries.bucket.objects):
                if "/bank/" in key and key.endswith("manifest.json"):
                    galleries.bucket.objects[key] = StoredObject(b"damaged", '"x"')
            with caplog.at_level(logging.CRITICAL):
                for _ in range(50):
                    asked = [SHOP, BANK] * 4
                    states = await asyncio.gather(*(galleries.status(place) for place in asked))
                    for location, status in zip(asked, states, strict=True):
                        assert status.loaded
                        assert (status.problem is None) == (location == SHOP)

        asyncio.run(run())


class TestGauges:
    def test_a_gallery_that_follows_the_store(
        self, galleries: LocalGalleries, elsewhere: Gallery
    ) -> None:
        async def run() -> None:
            await galleries.load(LOCATION)
            elsewhere.commit([put(1)])
            await galleries.snapshot(LOCATION, 1)

        asyncio.run(run())
        assert galleries.gauges.notes == [(LOCATION, 0, None), (LOCATION, 1, None)]

    def test_a_store_that_goes_away(self, galleries: LocalGalleries) -> None:
        async def run() -> None:
            await galleries.load(LOCATION)
            galleries.bucket.before = away
            await galleries.snapshot(LOCATION, None)
            with pytest.raises(Unavailable):
                await galleries.snapshot(LOCATION, 7)

        asyncio.run(run())
        assert galleries.gauges.notes == [
            (LOCATION, 0, None),
            ("unconfirmed",),
            (LOCATION, 0, "The store is away."),
        ]

    def test_a_gallery_that_cannot_be_opened(self, galleries: LocalGalleries) -> None:
        galleries.bucket.before = away
        with pytest.raises(Unavailable):
            asyncio.run(galleries.load(LOCATION))
        assert galleries.gauges.notes == [(LOCATION, "unopened")]

    def test_a_collection_that_a_caller_made_up(self, galleries: LocalGalleries) -> None:
        made_up = Location("made-up", MODEL, DIMENSION)

        async def run() -> None:
            galleries.bucket.before = away
            with pytest.raises(Unavailable):
                await galleries.snapshot(made_up, None)
            galleries.bucket.before = lambda request, key: None
            await galleries.snapshot(made_up, None)
            await galleries.status(made_up)
            galleries.bucket.before = away
            await galleries.snapshot(made_up, None)
            await galleries.status(made_up)

        asyncio.run(run())
        assert galleries.gauges.notes == [("unconfirmed",)]


class TestEviction:
    def test_those_asked_for_last_stay_in_memory_and_the_others_come_back(self, made: Made) -> None:
        galleries = made(most=2)
        locations = [Location(f"c{n}", MODEL, DIMENSION) for n in range(5)]

        async def run() -> None:
            for n, location in enumerate(locations):
                await galleries.commit(location, n)
            assert galleries.held == locations[-2:]
            assert [n for n in galleries.gauges.notes if n[1] == "forgotten"] == [
                (location, "forgotten") for location in locations[:3]
            ]
            for n, location in enumerate(locations):
                assert await galleries.people(location) == [n]
            assert len(galleries.held) == 2

        asyncio.run(run())
        assert_checked_once(galleries.bucket)

    def test_those_that_callers_make_up_take_no_place_from_others(self, made: Made) -> None:
        galleries = made(most=3)

        async def run() -> None:
            for location in (LOCATION, SHOP):
                await galleries.commit(location, 7)
                await galleries.load(location)
            for n in range(9):
                await galleries.snapshot(Location(f"made-up-{n}", MODEL, DIMENSION), None)
            assert galleries.held[:2] == [LOCATION, SHOP]
            assert len(galleries.held) == 3

        asyncio.run(run())
        assert_checked_once(galleries.bucket)


def crowd(bucket: MemoryStore, location: Location, people: int) -> None:
    """Import so many, without loading them."""
    rows = unit_rows(people, DIMENSION, seed=1)
    times = np.ones(people)
    segment = Segment.of_people(
        Kind.PUT,
        np.arange(people),
        np.ones(people, np.int32),
        rows,
        created=times,
        updated=times,
    )
    gallery = Gallery(bucket, "galleries", location)
    gallery.commit_segments(lambda: [segment])


class TestMemory:
    """Of galleries of 1,000 people, who take some 220 bytes each in these 64 dimensions."""

    ONE = 250_000

    def test_a_gallery_takes_the_memory_of_the_one_that_was_asked_for_longest_ago(
        self, made: Made
    ) -> None:
        galleries = made(memory=2 * self.ONE)
        locations = [Location(f"c{n}", MODEL, DIMENSION) for n in range(4)]

        async def run() -> None:
            for location in locations:
                crowd(galleries.bucket, location, 1000)
                assert len(await galleries.snapshot(location, None)) == 1000
            assert galleries.held == locations[2:]
            await galleries.snapshot(locations[2], None)
            await galleries.snapshot(locations[0], None)
            assert galleries.held == [locations[2], locations[0]]
            await asyncio.sleep(0)
            forgotten = [n[0] for n in galleries.gauges.notes if "forgotten" in n]
            assert forgotten == [locations[0], locations[1], locations[3]]

        asyncio.run(run())

    def test_one_that_does_not_fit_alone_is_an_error_that_says_so(self, made: Made) -> None:
        galleries = made(memory=self.ONE)
        crowd(galleries.bucket, SHOP, 3000)
        crowd(galleries.bucket, BANK, 1000)

        async def run() -> None:
            with pytest.raises(GalleryTooLarge, match=r"shop/.* more memory than .* 0 MB; give"):
                await galleries.snapshot(SHOP, None)
            status = await galleries.status(SHOP)
            assert not status.loaded
            assert "give the matchers more" in str(status.problem)
            assert len(await galleries.snapshot(BANK, None)) == 1000

        asyncio.run(run())

    def test_few_people_more_than_fit_are_followed_so_that_deletions_are(self, made: Made) -> None:
        galleries = made(memory=self.ONE)
        crowd(galleries.bucket, SHOP, 1000)

        async def run() -> None:
            await galleries.snapshot(SHOP, None)
            galleries._memory = 1000
            other = Gallery(galleries.bucket, "galleries", SHOP)
            version = other.commit([put(5000), Operation(Kind.DELETE, 7, 1.0)])
            snapshot = await galleries.snapshot(SHOP, version)
            assert 5000 in snapshot
            assert 7 not in snapshot

        asyncio.run(run())

    def test_many_more_than_fit_leave_those_who_were_read_before(
        self, made: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("serving.gallery.following._FEW_BYTES", 1000)
        galleries = made(memory=self.ONE)
        crowd(galleries.bucket, SHOP, 1000)

        async def run() -> None:
            await galleries.snapshot(SHOP, None)
            crowd(galleries.bucket, SHOP, 4000)
            with caplog.at_level(logging.CRITICAL):
                assert len(await galleries.snapshot(SHOP, 2)) == 1000
                status = await galleries.status(SHOP)
            assert (status.loaded, status.version, status.people) == (True, 1, 1000)
            assert "more memory" in str(status.problem)

        asyncio.run(run())

    def test_without_room_for_both_a_reload_lets_go_of_those_from_before(self, made: Made) -> None:
        """Others were restored, so that nobody is the same."""
        galleries = made(memory=self.ONE * 3 // 2)
        crowd(galleries.bucket, SHOP, 1000)

        async def run() -> None:
            before = await galleries.snapshot(SHOP, None)
            for key in [key for key in galleries.bucket.objects if "/shop/" in key]:
                del galleries.bucket.objects[key]
            everybody = [put(n, seed=9000 + n) for n in range(1000)]
            Gallery(galleries.bucket, "galleries", SHOP).commit(everybody)
            snapshot = await galleries.snapshot(SHOP, None)
            assert (len(before), len(snapshot)) == (1000, 1000)
            assert snapshot.nbytes < self.ONE

        asyncio.run(run())

    def test_one_that_is_evicted_while_it_is_read_can_be_asked_for_again(self, made: Made) -> None:
        galleries = made(memory=self.ONE)
        for location in (SHOP, BANK):
            crowd(galleries.bucket, location, 1000)
        go, reading = threading.Event(), threading.Event()

        def hold(request: str, key: str) -> None:
            if "/shop/" in key and "/segments/" in key:
                reading.set()
                go.wait(10)

        async def run() -> None:
            galleries.bucket.before = hold
            shop = asyncio.ensure_future(galleries.snapshot(SHOP, None))
            await asyncio.to_thread(reading.wait, 10)
            await galleries.snapshot(BANK, None)
            galleries._held.pop(SHOP)  # as when a third one needs its memory
            go.set()
            with pytest.raises(Overloaded, match="try again in a moment"):
                await shop
            galleries.bucket.before = lambda request, key: None
            assert len(await galleries.snapshot(SHOP, None)) == 1000
            assert galleries.held == [SHOP]

        asyncio.run(run())

    def test_all_who_wait_for_a_gallery_share_one_reading_of_it(self, made: Made) -> None:
        galleries = made()
        crowd(galleries.bucket, SHOP, 100)

        async def run() -> None:
            asked = (galleries.snapshot(SHOP, 0) for _ in range(50))
            assert [len(s) for s in await asyncio.gather(*asked)] == [100] * 50

        asyncio.run(run())
        read = [key for _, key in galleries.bucket.requests if "/segments/" in key]
        assert len(read) == 1 + 1  # written and read


def assert_checked_once(store: MemoryStore) -> None:
    """The bucket is checked once, however many collections there are."""
    checks = {key for request, key in store.requests if "/.check/" in key}
    assert len(checks) == 1


class TestDisk:
    """The vectors of galleries of 1,000 people take 128 bytes each in these 64 dimensions, in
    steps: 1,024 people."""

    ONE = 1024 * 2 * DIMENSION

    def test_a_gallery_takes_the_disk_of_the_one_that_was_asked_for_longest_ago(
        self, made: Made, tmp_path: Path
    ) -> None:
        galleries = made(disk=Disk(tmp_path, 2 * self.ONE))
        locations = [Location(f"c{n}", MODEL, DIMENSION) for n in range(4)]

        async def run() -> None:
            for location in locations:
                crowd(galleries.bucket, location, 1000)
                snapshot = await galleries.snapshot(location, None)
                assert (len(snapshot), snapshot.disk_nbytes) == (1000, self.ONE)
                probe = snapshot.centroids(np.array([7]))
                assert snapshot.search(probe, 1).ids.tolist() == [[7]]
            assert galleries.held == locations[2:]

        asyncio.run(run())

    def test_one_that_does_not_fit_alone_is_an_error_that_says_so(
        self, made: Made, tmp_path: Path
    ) -> None:
        galleries = made(disk=Disk(tmp_path, self.ONE))
        crowd(galleries.bucket, SHOP, 3000)

        async def run() -> None:
            with pytest.raises(GalleryTooLarge, match=r"shop/.* more disk than .* 0 MB; give"):
                await galleries.snapshot(SHOP, None)

        asyncio.run(run())
