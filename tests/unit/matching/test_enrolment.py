"""Enrolling and its conflicts; on a gallery in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from serving.errors import CollectionFull, RetentionEnded, Unavailable
from serving.gallery import Gallery, Kind, Operation
from serving.matching.enrolment import enrol
from serving.matching.records import Enrolled, Enrolment, Refused
from serving.settings import MatchSettings
from tests.support.enrolments import alike, enrolled, enrolment
from tests.support.galleries import away, open_gallery
from tests.support.memory_store import MemoryStore
from tests.support.people import put
from tests.support.stages import CARD


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def gallery(store: MemoryStore) -> Gallery:
    return open_gallery(store)


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

    def test_who_has_no_end_of_the_retention_gets_that_of_the_settings(
        self, gallery: Gallery
    ) -> None:
        end = "2099-01-31T00:00:00Z"
        done = enrolled(gallery, enrolment(name="Ada", default_end=end))
        assert (done.name, done.photos, done.expires_at) == ("Ada", 2, end)
        assert enrolled(gallery, enrolment(8)).expires_at is None
        assert enrolled(gallery, enrolment(8, append=True, default_end=end)).expires_at == end

    @pytest.mark.parametrize("append", [True, False])
    def test_an_end_of_the_person_stays_also_one_that_is_set_at_this_moment(
        self, gallery: Gallery, store: MemoryStore, append: bool
    ) -> None:
        own, by_default = "2098-01-31T00:00:00Z", "2099-01-31T00:00:00Z"
        enrolled(gallery, enrolment())
        details = {"expires_at": own}
        open_gallery(store).commit([Operation(Kind.DESCRIBE, 7, time.time(), details=details)])
        done = enrolled(gallery, enrolment(append=append, default_end=by_default))
        assert (done.photos, done.expires_at) == (4 if append else 2, own)

    def test_conflicts_are_refused_with_the_end_of_the_settings_too(self, gallery: Gallery) -> None:
        enrolled(gallery, enrolment(7))
        end = "2099-01-31T00:00:00Z"
        refused = enrol(gallery, enrolment(8, refuse=True, default_end=end), MatchSettings())
        assert isinstance(refused, Refused)

    def test_a_full_collection_takes_photos_but_no_people(self, gallery: Gallery) -> None:
        enrolled(gallery, enrolment(7))
        full = MatchSettings(max_people=1)
        with pytest.raises(CollectionFull):
            enrol(gallery, enrolment(8), full)
        done = enrol(gallery, enrolment(7, append=True), full)
        assert isinstance(done, Enrolled)
        assert done.photos == 4
        assert [p.id for p in gallery.refresh().list(9)] == [7]

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

    def test_a_person_is_no_conflict_of_their_own(self, gallery: Gallery) -> None:
        for append in (False, True, True, False):
            assert enrolled(gallery, enrolment(7, append=append)).conflicts == ()

    def test_photos_that_replace_another_person_are_reported(self, gallery: Gallery) -> None:
        enrolled(gallery, enrolment(7, name="Ada"))
        other = Enrolment(7, alike(2, seed=1), CARD)
        done = enrolled(gallery, other)
        assert [c.kind for c in done.conflicts or ()] == ["other-person"] * 2

    def test_it_costs_no_request_to_the_store(self, store: MemoryStore, gallery: Gallery) -> None:
        def requests(work: Callable[[], Any]) -> list[str]:
            sent: list[str] = []
            store.before = lambda request, key: sent.append(request)
            work()
            return sent

        def plain() -> None:
            gallery.refresh(at_least=gallery.commit([put(3)]))

        gallery.commit([put(1)])
        gallery.refresh()
        usual = requests(plain)
        assert requests(lambda: enrolled(gallery, enrolment(2))) == usual
        refusing = Enrolment(4, alike(1, seed=9), CARD, refuse=True)
        assert requests(lambda: enrolled(gallery, refusing)) == usual

    def test_the_later_enrolment_reports_an_earlier_one_of_another_process(
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


class TestRetention:
    def test_it_is_stored_and_told(self, gallery: Gallery) -> None:
        given = {"expires_at": "2127-01-31T00:00:00Z", "legal_basis": {"kind": "contract"}}
        done = enrolled(gallery, replace(enrolment(name="Ada"), retention=given))
        assert done.expires_at == given["expires_at"]
        person = gallery.refresh().get(7)
        assert person is not None
        assert (person.name, person.legal_basis) == ("Ada", {"kind": "contract"})
        again = enrolled(gallery, enrolment(photos=1))
        assert again.expires_at == given["expires_at"]

    def test_an_id_whose_retention_has_ended_is_not_enrolled(self, gallery: Gallery) -> None:
        enrolled(gallery, replace(enrolment(), retention={"expires_at": "2020-01-31T00:00:00Z"}))
        with pytest.raises(RetentionEnded):
            enrol(gallery, enrolment(name="Eve"), MatchSettings())

    def test_somebody_whose_retention_has_ended_is_no_conflict(self, gallery: Gallery) -> None:
        enrolled(gallery, enrolment(5, name="Eve"))
        ends = {"expires_at": "2020-01-31T00:00:00Z"}
        gallery.commit([Operation(Kind.DESCRIBE, 5, 1.0, details=ends)])
        assert enrolled(gallery, enrolment(7)).conflicts == ()
        assert isinstance(enrol(gallery, enrolment(8, refuse=True), MatchSettings()), Refused)
        gallery.commit([Operation(Kind.DESCRIBE, 7, 1.0, details=ends)])
        assert isinstance(enrol(gallery, enrolment(8, refuse=True), MatchSettings()), Enrolled)
