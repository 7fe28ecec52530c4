"""Which galleries a bucket holds."""

from __future__ import annotations

import pytest

from serving.errors import GalleryCorrupt
from serving.gallery import Gallery
from serving.gallery.location import Location, locate
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, LOCATION, MODEL, put

OTHER = "facenet-other@ffffffffffff"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def gallery(store: MemoryStore, collection: str = "default", model: str = MODEL) -> Gallery:
    return Gallery(store, "galleries", Location(collection, model, DIMENSION))


def test_the_galleries_of_a_bucket_are_found(store: MemoryStore) -> None:
    gallery(store).commit([put(1)])
    gallery(store, "staff", OTHER).commit([put(1)])
    # What else lies in the bucket is no gallery.
    for key in (".check/left", "My Shop/x/manifest.json", "a/manifest.json", "a/b/c/manifest.json"):
        store.put(f"galleries/{key}", b"left")
    places = [LOCATION, Location("staff", OTHER, DIMENSION)]
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
