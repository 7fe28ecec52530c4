"""Which galleries a bucket holds, and forgetting somebody in all of them."""

from __future__ import annotations

import pytest

from serving.errors import GalleryCorrupt, UnknownIdentity
from serving.gallery import Gallery, location
from serving.gallery.compaction import Maintenance
from serving.gallery.erasure import erase_everywhere
from serving.gallery.location import Location, locate
from serving.settings import GallerySettings
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, MODEL, put

OTHER = "facenet-other@ffffffffffff"
SETTINGS = GallerySettings()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    store = MemoryStore()
    monkeypatch.setattr(location, "connect", lambda settings, observer: store)
    return store


def gallery(store: MemoryStore, collection: str = "default", model: str = MODEL) -> Gallery:
    return Gallery(store, SETTINGS.prefix, collection, model, DIMENSION)


def test_the_galleries_of_a_bucket_are_found(store: MemoryStore) -> None:
    gallery(store).commit([put(1)])
    gallery(store, "staff", OTHER).commit([put(1)])
    store.put("galleries/.check/left", b"left")
    places = [Location("default", MODEL, DIMENSION), Location("staff", OTHER, DIMENSION)]
    assert list(locate(store, "galleries")) == places
    assert list(locate(store, "galleries", "staff")) == places[1:]
    assert list(locate(store, "galleries", "sta")) == []


def test_a_gallery_that_was_copied_is_where_it_lies(store: MemoryStore) -> None:
    gallery(store).commit([put(1)])
    for key, found in list(store.objects.items()):
        store.put(key.replace("/default/", "/copy/"), found.data)
    assert [p.collection for p in locate(store, "galleries")] == ["copy", "default"]
    assert len(gallery(store, "copy").refresh()) == 1


def test_a_damaged_manifest_is_named(store: MemoryStore) -> None:
    store.put(f"galleries/default/{MODEL}/manifest.json", b"{")
    with pytest.raises(GalleryCorrupt, match=r"manifest\.json"):
        list(locate(store, "galleries"))


def test_a_person_is_forgotten_by_the_galleries_of_all_models(store: MemoryStore) -> None:
    gallery(store).commit([put(7), put(1)])
    gallery(store, model=OTHER).commit([put(7, photos=3)])
    gallery(store, "staff").commit([put(7)])
    receipts = erase_everywhere(SETTINGS, [7])
    assert [(r.model, r.embeddings) for r in receipts] == [(OTHER, 3), (MODEL, 1)]
    assert [p.id for p in gallery(store).refresh().list(9)] == [1]
    assert len(gallery(store, model=OTHER).refresh()) == 0
    assert len(gallery(store, "staff").refresh()) == 1  # another collection, another person


def test_one_who_is_known_to_one_model_only(store: MemoryStore) -> None:
    gallery(store).commit([put(7), put(1)])
    gallery(store, model=OTHER).commit([put(2)])
    (receipt,) = erase_everywhere(SETTINGS, [7])
    assert receipt.model == MODEL
    assert gallery(store, model=OTHER).refresh().version == 1


def test_of_an_unknown_person_nothing_is_written(store: MemoryStore) -> None:
    with pytest.raises(UnknownIdentity):
        erase_everywhere(SETTINGS, [1])
    gallery(store).commit([put(1)])
    with pytest.raises(UnknownIdentity, match="id 9"):
        erase_everywhere(SETTINGS, [1, 9])
    assert gallery(store).refresh().version == 1
    assert Maintenance(store, "galleries", "default", MODEL, DIMENSION).held([1, 9]) == {1}
