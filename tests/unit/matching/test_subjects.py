"""Subjects: people by their name, without two who get one name or one id by a race."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.errors import AmbiguousName, BadRequest, CommitConflict, UnknownIdentity
from serving.gallery import Gallery, Kind, Operation
from serving.matching.records import Enrolled, Enrolment
from serving.matching.subjects import enrol_subject, one_of, people_of, rename, subject_of
from serving.settings import MatchSettings
from tests.support.enrolments import alike
from tests.support.galleries import open_gallery
from tests.support.memory_store import MemoryStore
from tests.support.people import put
from tests.support.stages import CARD


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def gallery(store: MemoryStore) -> Gallery:
    return open_gallery(store)


def add(gallery: Gallery, subject: str, seed: int = 0) -> Enrolled:
    enrolment = Enrolment(-1, alike(1, seed), CARD, subject, by_name=True)
    done = enrol_subject(gallery, enrolment, MatchSettings())
    assert isinstance(done, Enrolled)
    return done


def nothing(request: str, key: str) -> None:
    pass


def names(gallery: Gallery) -> dict[int, tuple[str | None, int]]:
    return {p.id: (p.name, p.photos) for p in gallery.refresh().list(1000)}


def test_a_new_subject_gets_the_next_id_and_a_known_one_more_photos(gallery: Gallery) -> None:
    gallery.commit([put(41, name="Eve")])
    first, second = add(gallery, "Ada", 1), add(gallery, "Ada", 2)
    assert (first.id, second.id, second.photos) == (42, 42, 2)
    assert names(gallery) == {41: ("Eve", 1), 42: ("Ada", 2)}
    assert len(first.ids) == 1
    assert first.ids != second.ids


def test_whoever_has_no_name_is_a_subject_by_the_id(gallery: Gallery) -> None:
    gallery.commit([put(7)])
    assert subject_of(7, None) == "id:7"
    assert [p.id for p in people_of(gallery.refresh(), "id:7")] == [7]
    assert add(gallery, "id:7").id == 7
    assert names(gallery) == {7: (None, 2)}
    with pytest.raises(BadRequest):
        add(gallery, "id:8")


def test_of_several_with_the_name_nobody_is_changed(gallery: Gallery) -> None:
    gallery.commit([put(1, name="Ada"), put(2, name="Ada"), put(3, name="Eve")])
    assert [p.id for p in people_of(gallery.refresh(), "Ada")] == [1, 2]
    for change in (
        lambda: add(gallery, "Ada"),
        lambda: rename(gallery, "Ada", "Bo"),
        lambda: rename(gallery, "Eve", "Ada"),
        lambda: one_of(people_of(gallery.refresh(), "Ada"), "Ada"),
    ):
        with pytest.raises(AmbiguousName, match="1, 2"):
            change()
    assert names(gallery) == {1: ("Ada", 1), 2: ("Ada", 1), 3: ("Eve", 1)}


def test_a_new_name_or_a_merge_into_whom_it_is_of(gallery: Gallery) -> None:
    gallery.commit([put(1, name="Ada"), put(2, name="Eve"), put(3)])
    renamed = rename(gallery, "Ada", "Bo")
    assert (renamed.person, renamed.merged, names(gallery)[1]) == (1, None, ("Bo", 1))
    merged = rename(gallery, "Bo", "Eve")
    assert (merged.person, merged.merged) == (2, 1)
    assert names(gallery) == {2: ("Eve", 2), 3: (None, 1)}
    assert rename(gallery, "id:3", "Cy").person == 3
    version = gallery.refresh().version
    assert rename(gallery, "Cy", "Cy").gallery_version == version
    with pytest.raises(UnknownIdentity):
        rename(gallery, "Ada", "Eve")
    with pytest.raises(BadRequest):
        rename(gallery, "Cy", "id:9")


def test_at_once_everybody_gets_an_id_and_a_name_is_given_once(store: MemoryStore) -> None:
    """Two processes, each with several callers."""
    galleries = [open_gallery(store), open_gallery(store)]
    wanted = [f"person {n % 6}" for n in range(24)]

    def one(n: int) -> int | None:
        return add(galleries[n % 2], wanted[n], n).id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(one, range(24)))
    found = names(open_gallery(store))
    assert sorted(name or "" for name, _ in found.values()) == sorted(set(wanted))
    assert {wanted[n]: person for n, person in enumerate(ids)} == {
        name: person for person, (name, _) in found.items()
    }
    assert sum(photos for _, photos in found.values()) == 24


def test_a_name_that_is_taken_meanwhile_is_not_given_again(store: MemoryStore) -> None:
    gallery, other = open_gallery(store), open_gallery(store)
    gallery.commit([put(1, name="Ada")])

    def taken(request: str, key: str) -> None:
        if request == "put" and key.endswith("manifest.json"):
            store.before = nothing
            other.commit([put(2, name="Bo")])

    store.before = taken
    assert rename(gallery, "Ada", "Bo").merged == 1
    assert names(gallery) == {2: ("Bo", 2)}


def test_who_is_slower_each_time_is_told(store: MemoryStore) -> None:
    gallery, other = open_gallery(store), open_gallery(store)
    turns = iter(range(1000))

    def taken(request: str, key: str) -> None:
        if request == "put" and key.endswith("manifest.json"):
            before, store.before = store.before, nothing
            n = next(turns)
            # In turn the name is somebody's, and nobody's.
            kind = Kind.DELETE if n % 2 else Kind.PUT
            other.commit([put(5, name="Ada") if kind is Kind.PUT else Operation(kind, 5, 1.0)])
            store.before = before

    store.before = taken
    with pytest.raises(CommitConflict):
        add(gallery, "Ada")
