"""A match replica over a store in memory: searches, enrolments, collections."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from serving.errors import CollectionFull, Overloaded, Unavailable
from serving.gallery import Gallery, Kind, Operation
from serving.gallery.location import Location
from serving.gallery.store import check_conditional_writes
from serving.matching.records import Enrolled, Enrolment
from serving.settings import GallerySettings, MatchSettings, TracingSettings, TritonSettings
from serving.stages.match import Matcher
from tests.support.galleries import away, open_gallery
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, LOCATION, MODEL, put, unit_rows
from tests.support.pipeline import FakeEmbedder
from tests.support.stages import CARD


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def gallery(store: MemoryStore) -> Gallery:
    return open_gallery(store)


async def matcher(
    store: MemoryStore,
    embedder: FakeEmbedder | None = None,
    threads: int = 2,
    clock: Callable[[], float] = time.time,
) -> Matcher:
    """As Serve makes one: it awaits the constructor."""

    def connect(settings: GallerySettings, observer: object) -> MemoryStore:
        check_conditional_writes(store, settings.prefix)
        return store

    made = Matcher.__new__(Matcher)
    await Matcher.__init__(
        made,
        MatchSettings(threads=threads),
        GallerySettings(),
        TritonSettings(),
        TracingSettings(),
        connect=connect,
        embedder=lambda settings: embedder or FakeEmbedder(),
        preload_tries=1,
        clock=clock,
    )
    return made


async def who(replica: Matcher, person: int, at_least: int | None) -> tuple[list[int], int]:
    """The nearest people to this person's embedding, and the gallery's version."""
    probe = unit_rows(1, DIMENSION, seed=person)
    found = await (await replica.identify(LOCATION, probe, 1, at_least)).get()
    return [c.id for c in found.candidates[0]], found.gallery_version


def test_it_has_loaded_before_the_first_request(store: MemoryStore, gallery: Gallery) -> None:
    gallery.commit([put(1)])

    async def run() -> None:
        replica = await matcher(store)
        store.before = away
        assert await who(replica, 1, None) == ([1], 1)
        assert await who(replica, 1, 1) == ([1], 1)

    asyncio.run(run())


def test_whose_retention_ends_is_found_until_then_though_the_gallery_stays_the_same(
    store: MemoryStore, gallery: Gallery
) -> None:
    now = [1199.9]
    ends = {"expires_at": "1970-01-01T00:20:00Z"}
    gallery.commit([put(1), replace(put(2), details=ends)])

    async def run() -> None:
        replica = await matcher(store, clock=lambda: now[0])
        assert await who(replica, 2, 1) == ([2], 1)
        now[0] = 1200.0
        assert await who(replica, 2, 1) == ([1], 1)
        store.before = away
        assert await who(replica, 2, None) == ([1], 1)
        store.before = lambda request, key: None
        listed = await replica.people(LOCATION, 9, -1, 1)
        assert [p.id for p in listed.people] == [1, 2]
        ending = await replica.people(LOCATION, 9, -1, 1, 1200.1)
        assert ([p.id for p in ending.people], ending.total) == ([2], 1)
        assert (await replica.people(LOCATION, 9, -1, 1, 1200.0)).total == 0

    asyncio.run(run())


def test_it_starts_while_triton_is_away_and_loads_when_asked(
    store: MemoryStore, gallery: Gallery
) -> None:
    gallery.commit([put(1)])
    embedder = FakeEmbedder()
    embedder.failure = Unavailable("Triton cannot be reached.")

    async def run() -> None:
        assert await who(await matcher(store, embedder), 1, None) == ([1], 1)

    asyncio.run(run())


def test_it_starts_while_the_store_is_away_and_says_so(store: MemoryStore) -> None:
    store.before = away

    async def run() -> None:
        replica = await matcher(store)
        status = await replica.status(LOCATION)
        assert (status.loaded, status.problem) == (False, "The store is away.")
        store.before = lambda request, key: None
        status = await replica.status(LOCATION)
        assert (status.loaded, status.problem) == (True, None)

    asyncio.run(run())


def test_photos_that_come_while_it_searches_are_one_search(
    store: MemoryStore, gallery: Gallery
) -> None:
    gallery.commit([put(n) for n in range(1, 7)])
    go = threading.Event()

    async def run() -> None:
        replica = await matcher(store, threads=1)
        replica._pool.submit(go.wait, 10)  # the first search waits behind it
        probes = [unit_rows(1, DIMENSION, seed=person) for person in range(1, 7)]
        asked = [asyncio.ensure_future(replica.identify(LOCATION, p, 1, 1)) for p in probes]
        while len(replica._searches._waiting) < 5:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        go.set()
        made = await asyncio.gather(*asked)
        found = [await ref.get() for ref in made]
        assert [m.candidates[0][0].id for m in found] == list(range(1, 7))
        # The time is that of the whole search, which five of them share.
        first, *others = [ref.work_ms for ref in made]
        assert len(set(others)) == 1
        assert first != others[0]

    asyncio.run(run())


def test_what_one_replica_wrote_another_sees(store: MemoryStore) -> None:
    async def run() -> None:
        one, other = await matcher(store), await matcher(store)
        done = await one.enrol(LOCATION, Enrolment(7, unit_rows(1, DIMENSION, seed=7), CARD))
        assert isinstance(done, Enrolled)
        assert await who(other, 7, done.gallery_version) == ([7], 1)

    asyncio.run(run())


def test_nobody_of_one_collection_is_found_in_another(store: MemoryStore) -> None:
    async def run() -> None:
        replica = await matcher(store)
        shop, bank = (Location(name, MODEL, DIMENSION) for name in ("shop", "bank"))
        embedding = unit_rows(1, DIMENSION, seed=7)
        await replica.enrol(shop, Enrolment(7, embedding, CARD))
        for location, ids in ((shop, [7]), (bank, []), (LOCATION, [])):
            found = await (await replica.identify(location, embedding, 1, None)).get()
            assert [c.id for c in found.candidates[0]] == ids
            page = await replica.people(location, 10, -1, None)
            assert [p.id for p in page.people] == ids
        assert await replica.collections() == [("shop", MODEL)]

    asyncio.run(run())


def test_many_who_ask_for_duplicates_or_erase_take_no_place_of_those_who_identify(
    store: MemoryStore, gallery: Gallery
) -> None:
    gallery.commit([put(1)])
    go = threading.Event()

    async def run() -> None:
        replica = await matcher(store)

        def slow(request: str, key: str) -> None:
            go.wait(10)

        store.before = slow
        long = [
            asyncio.ensure_future(call)
            for _ in range(20)
            for call in (
                replica.duplicates(LOCATION, CARD, None, 10, -1, 2),
                replica.erase("default", 1),
            )
        ]
        await asyncio.sleep(0.1)
        refused = [task for task in long if task.done()]
        assert len(refused) == 36
        assert {type(task.exception()) for task in refused} == {Overloaded}
        assert await who(replica, 1, None) == ([1], 1)
        go.set()
        await asyncio.gather(*long, return_exceptions=True)
        page = await (await replica.duplicates(LOCATION, CARD, None, 10, -1, 2)).get()
        assert page.people == 0  # the erasures were carried out

    asyncio.run(run())


def test_a_full_collection_takes_no_people_and_no_embeddings_of_new_ones(
    store: MemoryStore,
) -> None:
    async def run() -> None:
        replica = await matcher(store)
        replica._settings = MatchSettings(max_people=1)
        await replica.enrol(LOCATION, Enrolment(7, unit_rows(1, DIMENSION, seed=7), CARD))
        with pytest.raises(CollectionFull):
            await replica.enrol(LOCATION, Enrolment(8, unit_rows(1, DIMENSION, seed=8), CARD))
        with pytest.raises(CollectionFull):
            await replica.change(LOCATION, [put(8)], [])
        assert await replica.change(LOCATION, [put(7, seed=9)], []) == 2
        assert await replica.change(LOCATION, [Operation(Kind.CLEAR, 0, 1.0)], []) == 3
        assert await replica.change(LOCATION, [put(8)], []) == 4

    asyncio.run(run())


def test_one_erasure_runs_at_a_time_and_few_wait(store: MemoryStore, gallery: Gallery) -> None:
    gallery.commit([put(n) for n in range(5)])
    go, running = threading.Event(), 0

    async def run() -> None:
        nonlocal running
        replica = await matcher(store)

        def hold(request: str, key: str) -> None:
            nonlocal running
            if threading.current_thread().name.startswith("erasure") and not go.is_set():
                running += 1
                go.wait(10)

        store.before = hold
        asked = [asyncio.ensure_future(replica.erase("default", n)) for n in (1, 2)]
        while not running:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        with pytest.raises(Overloaded, match="Other erasures"):
            await replica.erase("default", 3)
        assert await who(replica, 3, None) == ([3], 1)
        assert running == 1
        go.set()
        done = await asyncio.gather(*asked)
        assert [erased.receipts[0].ids for erased in done] == [[1], [2]]

    asyncio.run(run())
