from __future__ import annotations

import pytest

from serving.errors import CollectionFull
from serving.gallery import Gallery, Kind, Operation
from serving.matching import quota
from tests.support.galleries import open_gallery
from tests.support.memory_store import MemoryStore
from tests.support.people import put


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def gallery(store: MemoryStore) -> Gallery:
    gallery = open_gallery(store)
    gallery.commit([put(1), put(2)])
    gallery.refresh()
    return gallery


def test_a_new_person_in_a_full_collection_is_refused(gallery: Gallery) -> None:
    with pytest.raises(CollectionFull, match=r"holds 2 people, and match.max_people allows 2"):
        quota.check(gallery, [put(3)], 2)
    quota.check(gallery, [put(3)], 3)


@pytest.mark.parametrize(
    "operation",
    [
        put(2, seed=9),
        Operation(Kind.APPEND, 1, 1.0, put(1).embeddings),
        Operation(Kind.DELETE, 7, 1.0),
        Operation(Kind.MERGE, 1, 1.0, sources=(2,)),
        Operation(Kind.DESCRIBE, 1, 1.0, details={"name": "Ada"}),
    ],
)
def test_whatever_adds_nobody_is_let_through(gallery: Gallery, operation: Operation) -> None:
    quota.check(gallery, [operation], 1)


def test_who_was_deleted_meanwhile_does_not_count(store: MemoryStore, gallery: Gallery) -> None:
    open_gallery(store).commit([Operation(Kind.DELETE, 1, 1.0)])
    quota.check(gallery, [put(3)], 2)


def test_a_collection_that_is_not_full_costs_no_request(
    store: MemoryStore, gallery: Gallery
) -> None:
    store.requests.clear()
    quota.check(gallery, [put(3)], 3)
    assert store.requests == []
