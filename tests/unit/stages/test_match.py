"""From embeddings to candidates, and enrolling; on a gallery in memory."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serving import deadline
from serving.errors import GalleryCorrupt, TimedOut, Unavailable
from serving.gallery import Gallery, Snapshot, location
from serving.gallery.location import Location
from serving.gallery.store import StoredObject
from serving.matching import search as matching
from serving.matching.duplicates import compare_people
from serving.matching.enrolment import enrol
from serving.matching.records import Enrolled, Enrolment, Matches, Refused
from serving.matching.search import nearest
from serving.settings import GallerySettings, MatchSettings, TracingSettings, TritonSettings
from serving.stages import match, refs
from serving.stages.match import Matcher
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, LOCATION, MODEL, put, unit_rows
from tests.support.pipeline import FakeEmbedder
from tests.support.stages import CARD, Held

WHERE = LOCATION


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def gallery(store: MemoryStore) -> Gallery:
    return open_gallery(store)


def open_gallery(store: MemoryStore) -> Gallery:
    return Gallery(store, "galleries", LOCATION, sleep=lambda s: None)


def away(request: str, key: str) -> None:
    raise Unavailable("The store is away.")


class TestNearest:
    def test_candidates_come_best_first_with_their_names(self, gallery: Gallery) -> None:
        gallery.commit([put(1, name="Ada"), put(2), put(3, name="Eve")])
        probe = unit_rows(1, DIMENSION, seed=3)
        (found,) = nearest(gallery.refresh(), [probe], 2)
        assert found.gallery_version == 1
        (candidates,) = found.candidates
        assert len(candidates) == 2
        assert (candidates[0].id, candidates[0].name) == (3, "Eve")
        assert candidates[0].similarity == pytest.approx(1, abs=1e-3)
        assert candidates[1].similarity < candidates[0].similarity

    def test_each_probe_has_its_own(self, gallery: Gallery) -> None:
        gallery.commit([put(1), put(2)])
        probes = np.concatenate([unit_rows(1, DIMENSION, seed=n) for n in (2, 1, 2)])
        (found,) = nearest(gallery.refresh(), [probes], 1)
        assert [c.id for (c,) in found.candidates] == [2, 1, 2]

    def test_each_photo_has_its_own(self, gallery: Gallery) -> None:
        gallery.commit([put(1), put(2), put(3)])
        people = gallery.refresh()
        photos = [
            np.concatenate([unit_rows(1, DIMENSION, seed=n) for n in ids]).reshape(-1, DIMENSION)
            for ids in ((2, 1), (3,))
        ]
        photos.insert(1, np.empty((0, DIMENSION), np.float32))
        found = nearest(people, photos, 2)
        assert [[best.id for best, _ in photo.candidates] for photo in found] == [[2, 1], [], [3]]
        for probes, together in zip(photos, found, strict=True):
            (alone,) = nearest(people, [probes], 2)
            assert (alone.gallery_version, alone.people) == (together.gallery_version, 3)
            for one, other in zip(alone.candidates, together.candidates, strict=True):
                assert [c.id for c in one] == [c.id for c in other]
                assert [c.similarity for c in one] == pytest.approx([c.similarity for c in other])

    def test_nobody_enrolled(self, gallery: Gallery) -> None:
        found = nearest(gallery.refresh(), [unit_rows(2, DIMENSION)], 5)
        assert found == [Matches(((), ()), 0, 0)]

    def test_no_probe(self, gallery: Gallery) -> None:
        gallery.commit([put(1)])
        found = nearest(gallery.refresh(), [np.empty((0, DIMENSION), np.float32)], 5)
        assert found == [Matches((), 1, 1)]

    def test_numbers_are_plain_ones(self, gallery: Gallery) -> None:
        gallery.commit([put(1)])
        (found,) = nearest(gallery.refresh(), [unit_rows(1, DIMENSION)], 1)
        ((candidate,),) = found.candidates
        assert type(candidate.id) is int
        assert type(candidate.similarity) is float


def alike(photos: int, seed: int = 0) -> NDArray[np.float32]:
    """Embeddings of one person: float32 (P, D)."""
    rows = unit_rows(1, DIMENSION, seed=seed) + 0.3 * unit_rows(photos, DIMENSION, seed=seed + 1000)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def enrolled(gallery: Gallery, person: Enrolment, **settings: Any) -> Enrolled:
    done = enrol(gallery, person, MatchSettings(**settings))
    assert isinstance(done, Enrolled)
    return done


def enrolment(person: int = 7, photos: int = 2, **options: Any) -> Enrolment:
    return Enrolment(person, alike(photos), CARD, **options)


def goes_away_after_a_commit(store: MemoryStore) -> None:
    def gone(request: str, key: str) -> None:
        if request == "put" and key.endswith("manifest.json"):
            store.before = away

    store.after = gone


class TestEnrol:
    def test_the_answer_is_what_the_gallery_holds_now(self, gallery: Gallery) -> None:
        done = enrolled(gallery, enrolment(name="Ada"))
        assert (done.name, done.photos, done.gallery_version) == ("Ada", 2, 1)

    def test_replacing_keeps_the_name_unless_another_is_given(self, gallery: Gallery) -> None:
        enrolled(gallery, enrolment(name="Ada", photos=5))
        done = enrolled(gallery, enrolment(photos=1))
        assert (done.name, done.photos, done.gallery_version) == ("Ada", 1, 2)
        assert enrolled(gallery, enrolment(name="Eve")).name == "Eve"

    def test_appending_adds_photos(self, gallery: Gallery) -> None:
        enrolled(gallery, enrolment(name="Ada", photos=5))
        done = enrolled(gallery, enrolment(photos=1, append=True))
        assert (done.name, done.photos) == ("Ada", 6)

    def test_what_was_written_is_acknowledged_though_it_cannot_be_read_back(
        self, store: MemoryStore, gallery: Gallery
    ) -> None:
        goes_away_after_a_commit(store)
        done = enrolled(gallery, enrolment(name="Ada"))
        assert (done.name, done.photos, done.gallery_version) == ("Ada", None, 1)
        store.before = lambda request, key: None
        assert [p.id for p in open_gallery(store).refresh().list(9)] == [7]

    def test_what_was_not_written_is_not_acknowledged(
        self, store: MemoryStore, gallery: Gallery
    ) -> None:
        store.before = away
        with pytest.raises(Unavailable, match="Nothing was written"):
            enrolled(gallery, enrolment())

    def test_somebody_who_is_enrolled_already_is_reported(self, gallery: Gallery) -> None:
        enrolled(gallery, enrolment(5, name="Eve"))
        done = enrolled(gallery, enrolment(7))
        assert done.conflicts is not None
        (conflict,) = done.conflicts
        assert (conflict.kind, conflict.id, conflict.name) == ("already-enrolled", 5, "Eve")
        assert conflict.photos == (0, 1)
        assert done.photos == 2

    def test_nobody_conflicts_with_himself(self, gallery: Gallery) -> None:
        for append in (False, True, True, False):
            assert enrolled(gallery, enrolment(7, append=append)).conflicts == ()

    def test_one_who_replaces_somebody_else_is_told(self, gallery: Gallery) -> None:
        enrolled(gallery, enrolment(7, name="Ada"))
        other = Enrolment(7, alike(2, seed=1), CARD)
        done = enrolled(gallery, other)
        assert [c.kind for c in done.conflicts or ()] == ["other-person"] * 2

    def test_it_costs_no_request_to_the_store(self, store: MemoryStore, gallery: Gallery) -> None:
        def requests(work: Callable[[], Any]) -> list[str]:
            asked: list[str] = []
            store.before = lambda request, key: asked.append(request)
            work()
            return asked

        def plain() -> None:
            gallery.refresh(at_least=gallery.commit([put(3)]))

        gallery.commit([put(1)])
        gallery.refresh()
        usual = requests(plain)
        assert requests(lambda: enrolled(gallery, enrolment(2))) == usual
        refusing = Enrolment(4, alike(1, seed=9), CARD, refuse=True)
        assert requests(lambda: enrolled(gallery, refusing)) == usual

    def test_who_enrols_later_learns_of_who_was_earlier_elsewhere(
        self, store: MemoryStore, gallery: Gallery
    ) -> None:
        gallery.refresh()
        enrolled(open_gallery(store), enrolment(5))
        done = enrolled(gallery, enrolment(7))
        assert [c.id for c in done.conflicts or ()] == [5]

    def test_a_conflict_is_refused_and_nothing_written(
        self, store: MemoryStore, gallery: Gallery
    ) -> None:
        gallery.refresh()
        enrolled(open_gallery(store), enrolment(5))  # of which this replica has not heard
        done = enrol(gallery, enrolment(7, refuse=True), MatchSettings())
        assert isinstance(done, Refused)
        assert [c.id for c in done.conflicts] == [5]
        assert [p.id for p in open_gallery(store).refresh().list(9)] == [5]

    def test_of_two_at_once_one_is_refused(self, store: MemoryStore, gallery: Gallery) -> None:
        """Both wait for a commit that is under way, and are then committed together."""
        under_way, go_on = threading.Event(), threading.Event()

        def hold(request: str, key: str) -> None:
            if request == "put" and not under_way.is_set():
                under_way.set()
                assert go_on.wait(10)

        store.before = hold
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(gallery.commit, [put(1)])
            assert under_way.wait(10)
            both = [
                pool.submit(enrol, gallery, enrolment(n, refuse=True), MatchSettings())
                for n in (5, 7)
            ]
            while gallery.waiting < 2:
                time.sleep(0.001)
            go_on.set()
            done = [b.result(10) for b in both]
            first.result(10)
        assert sorted(type(d).__name__ for d in done) == ["Enrolled", "Refused"]
        assert len(gallery.refresh()) == 2

    def test_without_the_read_back_conflicts_are_not_known(
        self, store: MemoryStore, gallery: Gallery
    ) -> None:
        goes_away_after_a_commit(store)
        assert enrolled(gallery, enrolment()).conflicts is None


class TestComparePeople:
    def test_duplicates_come_with_names_and_the_threshold(self, gallery: Gallery) -> None:
        for person, seed in ((9, 0), (3, 0), (4, 1)):
            enrolled(gallery, Enrolment(person, alike(2, seed), CARD, name=f"p{person}"))
        page = compare_people(gallery.refresh(), CARD, None, 10, -1, MatchSettings())
        (pair,) = page.pairs
        assert (pair.a.name, pair.b.name, pair.a.photos) == ("p3", "p9", 2)
        assert pair.similarity == pytest.approx(1, abs=1e-3)
        assert (page.threshold, page.people, page.next, page.found) == (CARD.threshold, 3, None, 1)

    def test_a_large_gallery_is_compared_in_parts(
        self, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(matching, "_LEAST_COMPARED", 2)
        monkeypatch.setattr(matching, "_COMPARISONS", 0)
        gallery.commit([put(n, seed=n % 3) for n in range(7)])
        found: list[tuple[int, int]] = []
        after: int | None = -1
        while after is not None:
            page = compare_people(gallery.refresh(), CARD, 0.9, 10, after, MatchSettings())
            found += [(p.a.id, p.b.id) for p in page.pairs]
            after = page.next
        assert sorted(found) == [(0, 3), (0, 6), (1, 4), (2, 5), (3, 6)]

    def test_it_ends_when_nobody_waits_any_more(self, gallery: Gallery) -> None:
        gallery.commit([put(1), put(2)])
        with deadline.until(1.0), pytest.raises(TimedOut):
            compare_people(gallery.refresh(), CARD, 0.9, 10, -1, MatchSettings())


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture(autouse=True)
def _outside(monkeypatch: pytest.MonkeyPatch, store: MemoryStore, embedder: FakeEmbedder) -> None:
    """What a matcher finds outside: a store, a Triton, and Ray's object store."""

    async def hold(value: Any, nbytes: int | None = None, work_ms: float = 0.0) -> refs.Ref[Any]:
        return refs.Ref((Held(value),), False, work_ms)

    monkeypatch.setattr(location, "connect", lambda settings, observer: store)
    monkeypatch.setattr(match, "Embedder", lambda settings: embedder)
    monkeypatch.setattr(match, "_PRELOAD_TRIES", 1)
    monkeypatch.setattr(refs, "put", hold)


async def matcher(**settings: Any) -> Matcher:
    """As Serve makes one: it awaits the constructor."""
    made = Matcher.__new__(Matcher)
    await Matcher.__init__(
        made, MatchSettings(**settings), GallerySettings(), TritonSettings(), TracingSettings()
    )
    return made


async def who(replica: Matcher, person: int, at_least: int | None) -> tuple[list[int], int]:
    probe = unit_rows(1, DIMENSION, seed=person)
    found = await (await replica.identify(WHERE, probe, 1, at_least)).get()
    return [c.id for c in found.candidates[0]], found.gallery_version


class TestMatcher:
    def test_it_has_loaded_before_the_first_request(
        self, store: MemoryStore, gallery: Gallery
    ) -> None:
        gallery.commit([put(1)])

        async def run() -> None:
            replica = await matcher()
            store.before = away
            assert await who(replica, 1, None) == ([1], 1)
            assert await who(replica, 1, 1) == ([1], 1)

        asyncio.run(run())

    def test_photos_that_come_while_it_searches_are_one_search(
        self, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gallery.commit([put(n) for n in range(1, 7)])
        searches, go = [], threading.Event()

        def search(people: Snapshot, photos: Sequence[Any], top_k: int) -> list[Matches]:
            searches.append(len(photos))
            assert go.wait(10)
            return nearest(people, photos, top_k)

        async def run() -> list[tuple[list[int], int]]:
            monkeypatch.setattr(match, "nearest", search)
            replica = await matcher(threads=1)
            asked = [asyncio.ensure_future(who(replica, person, 1)) for person in range(1, 7)]
            while len(replica._searches._waiting) < 5:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            go.set()
            return await asyncio.gather(*asked)

        assert asyncio.run(run()) == [([person], 1) for person in range(1, 7)]
        assert searches == [1, 5]

    def test_it_follows_to_the_version_that_is_asked_for(self, gallery: Gallery) -> None:
        async def run() -> None:
            replica = await matcher()
            gallery.commit([put(1)])
            assert await who(replica, 1, 0) == ([], 0)
            assert await who(replica, 1, 1) == ([1], 1)

        asyncio.run(run())

    def test_what_one_replica_wrote_another_sees(self) -> None:
        async def run() -> None:
            one, other = await matcher(), await matcher()
            done = await one.enrol(WHERE, Enrolment(7, unit_rows(1, DIMENSION, seed=7), CARD))
            assert isinstance(done, Enrolled)
            assert await who(other, 7, done.gallery_version) == ([7], 1)

        asyncio.run(run())

    def test_it_starts_while_triton_is_away_and_loads_when_asked(
        self, gallery: Gallery, embedder: FakeEmbedder
    ) -> None:
        gallery.commit([put(1)])
        embedder.failure = Unavailable("Triton cannot be reached.")

        async def run() -> None:
            assert await who(await matcher(), 1, None) == ([1], 1)

        asyncio.run(run())

    def test_a_store_that_is_away_from_the_start_is_no_empty_gallery(
        self, store: MemoryStore
    ) -> None:
        store.before = away

        async def run() -> None:
            replica = await matcher()
            with pytest.raises(Unavailable):
                await who(replica, 1, None)
            status = await replica.status(WHERE)
            assert not status.loaded
            assert status.problem == "The store is away."

        asyncio.run(run())

    def test_a_store_that_hangs_keeps_nobody_from_knowing_the_state(
        self, store: MemoryStore, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gallery.commit([put(1)])
        go = threading.Event()

        def hang(request: str, key: str) -> None:
            go.wait(10)

        async def run() -> None:
            replica = await matcher()
            settings = GallerySettings(freshness_timeout_s=0.05)
            monkeypatch.setattr(replica, "_gallery_settings", settings)
            store.before = hang
            try:
                status = await asyncio.wait_for(replica.status(WHERE), 5)
            finally:
                go.set()
            assert (status.loaded, status.version, status.people) == (True, 1, 1)
            assert "within 0.05 s" in str(status.problem)
            assert await who(replica, 1, 1) == ([1], 1)

        asyncio.run(run())

    def test_damage_leaves_those_who_were_read_before_and_is_told(
        self, store: MemoryStore, gallery: Gallery, caplog: pytest.LogCaptureFixture
    ) -> None:
        gallery.commit([put(1)])

        async def run() -> None:
            replica = await matcher()
            before = set(store.objects)
            gallery.commit([put(2)])
            (new,) = set(store.objects) - before
            sound = store.objects[new]
            store.objects[new] = StoredObject(b"damaged", '"x"')
            with caplog.at_level(logging.CRITICAL):
                assert await who(replica, 1, 2) == ([1], 1)
                status = await replica.status(WHERE)
            assert (status.loaded, status.version, status.people) == (True, 1, 1)
            assert "damaged" in str(status.problem)
            store.objects[new] = sound
            status = await replica.status(WHERE)
            assert (status.version, status.people, status.photos) == (2, 2, 2)
            assert status.problem is None

        asyncio.run(run())

    def test_damage_from_the_start_is_an_error(self, store: MemoryStore, gallery: Gallery) -> None:
        gallery.commit([put(1)])
        (segment,) = (key for key in store.objects if "/segments/" in key)
        del store.objects[segment]

        async def run() -> None:
            with pytest.raises(GalleryCorrupt):
                await who(await matcher(), 1, None)

        asyncio.run(run())


class TestTold:
    """What the metrics and logs hear of it."""

    @pytest.fixture
    def told(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
        notes: list[tuple[Any, ...]] = []

        class Gauges:
            def show(self, where: Location, snapshot: Snapshot, problem: str | None) -> None:
                notes.append((snapshot.version, problem))

            def unopened(self, where: Location) -> None:
                notes.append(("unopened", where))

            def forget(self, where: Location) -> None:
                notes.append(("forgotten", where))

            def unconfirmed(self) -> None:
                notes.append(("unconfirmed",))

            async def keep(self) -> None:
                pass

        monkeypatch.setattr(match, "GalleryGauges", Gauges)
        return notes

    def test_a_gallery_that_follows_the_store(
        self, gallery: Gallery, told: list[tuple[Any, ...]]
    ) -> None:
        async def run() -> None:
            replica = await matcher()
            gallery.commit([put(1)])
            await who(replica, 1, 1)

        asyncio.run(run())
        assert told == [(0, None), (1, None)]

    def test_a_store_that_goes_away(self, store: MemoryStore, told: list[tuple[Any, ...]]) -> None:
        async def run() -> None:
            replica = await matcher()
            store.before = away
            await who(replica, 1, None)
            with pytest.raises(Unavailable):
                await who(replica, 1, 7)

        asyncio.run(run())
        assert told == [(0, None), ("unconfirmed",), (0, "The store is away.")]

    def test_a_gallery_that_cannot_be_opened(
        self, store: MemoryStore, told: list[tuple[Any, ...]]
    ) -> None:
        store.before = away
        asyncio.run(matcher())
        assert told == [("unopened", WHERE)]

    def test_a_collection_that_a_caller_made_up(
        self, store: MemoryStore, told: list[tuple[Any, ...]]
    ) -> None:
        made_up = Location("made-up", MODEL, DIMENSION)

        async def run() -> None:
            store.before = away
            replica = await matcher()
            with pytest.raises(Unavailable):
                await replica.people(made_up, 1, -1, None)
            store.before = lambda request, key: None
            await replica.people(made_up, 1, -1, None)
            await replica.status(made_up)
            store.before = away
            await replica.people(made_up, 1, -1, None)
            await replica.status(made_up)

        asyncio.run(run())
        assert told == [("unopened", WHERE), ("unconfirmed",)]

    def test_threads_work_in_the_context_of_the_request(self, gallery: Gallery) -> None:
        request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")

        async def run() -> str:
            replica = await matcher()
            request.set("abc-1")
            return await replica._in(replica._store_pool, request.get)

        assert asyncio.run(run()) == "abc-1"


class TestCollections:
    def test_nobody_of_one_is_found_in_another(self) -> None:
        async def run() -> None:
            replica = await matcher()
            shop, bank = (Location(name, MODEL, DIMENSION) for name in ("shop", "bank"))
            embedding = unit_rows(1, DIMENSION, seed=7)
            await replica.enrol(shop, Enrolment(7, embedding, CARD))
            for where, ids in ((shop, [7]), (bank, []), (WHERE, [])):
                found = await (await replica.identify(where, embedding, 1, None)).get()
                assert [c.id for c in found.candidates[0]] == ids
                page = await replica.people(where, 10, -1, None)
                assert [p.id for p in page.people] == ids
            assert [str(where) for where in await replica.collections()] == [f"shop/{MODEL}"]

        asyncio.run(run())

    def test_those_asked_for_last_stay_in_memory_and_the_others_come_back(
        self, store: MemoryStore
    ) -> None:
        async def run() -> None:
            replica = await matcher(galleries=2)
            places = [Location(f"c{n}", MODEL, DIMENSION) for n in range(5)]
            for n, where in enumerate(places):
                await replica.enrol(where, Enrolment(n, unit_rows(1, DIMENSION, seed=n), CARD))
            assert list(replica._galleries) == places[-2:]
            for n, where in enumerate(places):
                page = await replica.people(where, 10, -1, None)
                assert [p.id for p in page.people] == [n]
            assert len(replica._galleries) == 2

        asyncio.run(run())
        assert_checked_once(store)

    def test_those_that_callers_make_up_take_no_place_from_others(self, store: MemoryStore) -> None:
        async def run() -> None:
            replica = await matcher(galleries=3)
            shop = Location("shop", MODEL, DIMENSION)
            for where in (WHERE, shop):
                await replica.enrol(where, Enrolment(7, unit_rows(1, DIMENSION, seed=7), CARD))
            for n in range(9):
                await replica.people(Location(f"made-up-{n}", MODEL, DIMENSION), 1, -1, None)
            assert list(replica._galleries)[:2] == [WHERE, shop]
            assert len(replica._galleries) == 3

        asyncio.run(run())
        assert_checked_once(store)


def assert_checked_once(store: MemoryStore) -> None:
    """The bucket is tried once, however many collections there are."""
    checks = {key for request, key in store.requests if "/.check/" in key}
    assert len(checks) == 1
