"""Which objects are photos, and a listing that is not in memory."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Sequence

import pytest

from serving.errors import StoreUnfit
from serving.gallery.store import Entry
from serving.operations.batch.photos import Photos, is_photo
from tests.support.memory_store import MemoryStore


@pytest.mark.parametrize("key", ["a.jpg", "in/B.JPEG", "in/ü.heic", "in/\x1b[2J.tif", "a b/c.avif"])
def test_photos(key: str) -> None:
    assert is_photo(key)


@pytest.mark.parametrize(
    "key", ["in/", "in/x.jpg/", "in/notes.txt", "in/jpg", "in/.hidden.jpg", "in/.jpg", "x.jpg.json"]
)
def test_other_objects(key: str) -> None:
    assert not is_photo(key)


@pytest.mark.parametrize("page_size", [1, 2, 3, 1000])
def test_in_order_from_a_key_on(page_size: int) -> None:
    store = MemoryStore()
    store.page_size = page_size
    names = ["a.jpg", "b.txt", "c", "d.png", "e/f.jpg", "g.md"]
    for name in names:
        store.put(f"in/{name}", b"x")
    store.put("in2/a.jpg", b"x")
    photos = Photos(store, "in/")
    found = [(p.entry.key, p.passed_over) for p in photos]
    assert found == [("in/a.jpg", 0), ("in/d.png", 2), ("in/e/f.jpg", 0)]
    assert photos.passed_over == 1
    later = Photos(store, "in/", "in/a.jpg")
    assert [p.entry.key for p in later] == ["in/d.png", "in/e/f.jpg"]
    assert list(Photos(store, "in/", "in/g.md")) == []


class Endless(MemoryStore):
    """Has as many photos as somebody asks for."""

    def page(self, prefix: str, after: str = "") -> Sequence[Entry]:
        first = int(after[-13:-4]) + 1 if after else 0
        return [Entry(f"{prefix}{n:09}.jpg", 1, 0.0, "e") for n in range(first, first + 1000)]


def test_memory_does_not_grow_with_the_photos() -> None:
    photos = iter(Photos(Endless(), "in/"))
    next(itertools.islice(photos, 5_000, None))
    tracemalloc.start()
    try:
        next(itertools.islice(photos, 100_000, None))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20  # of two pages; all entries would take some 30 MB


def test_a_store_that_begins_anew_is_no_endless_job() -> None:
    class Ignoring(MemoryStore):
        def page(self, prefix: str, after: str = "") -> Sequence[Entry]:
            return super().page(prefix)

    store = Ignoring()
    store.put("in/a.jpg", b"x")
    with pytest.raises(StoreUnfit, match="StartAfter"):
        list(Photos(store, "in/"))


def test_a_store_without_an_order_of_keys_is_refused_before_photos_come_twice() -> None:
    class Backwards(MemoryStore):
        def page(self, prefix: str, after: str = "") -> Sequence[Entry]:
            return list(reversed(super().page(prefix, after)))

    store = Backwards()
    for name in "abcdef":
        store.put(f"in/{name}.jpg", b"x")
    photos = iter(Photos(store, "in/"))
    keys = [photo.entry.key for photo in itertools.islice(photos, 6)]
    assert sorted(keys) == [f"in/{name}.jpg" for name in "abcdef"]
    with pytest.raises(StoreUnfit, match="no order of keys"):
        next(photos)
