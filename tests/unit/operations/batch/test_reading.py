"""Photos that cannot be read, and stores that cannot."""

from __future__ import annotations

import pytest

from serving.errors import StoreUnfit, Unavailable
from serving.gallery.store import Entry
from serving.operations.batch.job import Place
from serving.operations.batch.reading import Reader, Refused
from tests.support.memory_store import MemoryStore
from tests.unit.operations.batch.results import SOURCE, World, photos


def entry(key: str, size: int = 1) -> Entry:
    return Entry(key, size, 0.0, "e")


def test_a_photo_that_grew_since_it_was_listed_is_too_large() -> None:
    store = MemoryStore()
    store.put("in/a.jpg", b"x" * 11)
    reader = Reader(Place(store, SOURCE), max_bytes=10)
    with pytest.raises(Refused, match="11 bytes are more than the 10"):
        reader.read(entry("in/a.jpg"))
    with pytest.raises(Refused, match="12 bytes are more than the 10"):
        reader.read(entry("in/a.jpg", 12))
    assert store.requests.count(("get", "in/a.jpg")) == 1


def test_what_is_gone_is_the_photos_fault_and_a_store_that_is_away_is_not() -> None:
    store = MemoryStore()
    reader = Reader(Place(store, SOURCE), max_bytes=10)
    with pytest.raises(Refused, match="removed after it was listed"):
        reader.read(entry("in/a.jpg"))

    def away(request: str, key: str) -> None:
        raise Unavailable("The object store cannot be reached.")

    store.before = away
    with pytest.raises(Unavailable, match="cannot be reached"):
        reader.read(entry("in/a.jpg"))


def test_keys_that_do_not_suffice_end_the_run() -> None:
    world = World(photos(8))

    def refused(request: str, key: str) -> None:
        if request == "get":
            raise StoreUnfit("The bucket refuses these keys.")

    world.source.before = refused
    with pytest.raises(StoreUnfit, match=r"s3://photos/in/000.jpg cannot be read. The bucket"):
        world.run()
    assert world.names() == ["job.json"]
