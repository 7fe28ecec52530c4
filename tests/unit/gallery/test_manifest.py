from __future__ import annotations

import json

import pytest

from serving.errors import GalleryCorrupt, Unavailable
from serving.gallery import Gallery
from serving.gallery.compaction import compact
from serving.gallery.manifest import NO_INDEX, key_of
from serving.gallery.segment import Kind, Operation, Segment
from serving.gallery.store import StoredObject
from serving.gallery.stored import StoredGallery
from serving.gallery.sweep import sweep
from tests.support.memory_store import MemoryStore
from tests.support.people import (
    DIMENSION,
    FOLDER,
    LOCATION,
    MANIFEST,
    put,
    unit_rows,
    whole_manifest,
)

WHERE = ("galleries", LOCATION)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def open_gallery(store: MemoryStore) -> Gallery:
    return Gallery(store, *WHERE, clock=lambda: 1.0, sleep=lambda s: None)


def import_segments(gallery: Gallery, count: int) -> None:
    segments = [Segment.of([put(1_000_000 + n)], DIMENSION) for n in range(count)]
    gallery.commit_segments(lambda: segments)


def cost_of_enrolling(store: MemoryStore) -> tuple[int, int]:
    """Requests and bytes that one more commit writes and reads, by a writer that follows."""
    gallery = open_gallery(store)
    gallery.refresh()
    store.requests.clear()
    gallery.commit([put(7)])
    return len(store.requests), sum(
        len(store.objects[key].data) for request, key in store.requests if request == "put"
    )


def index_of(store: MemoryStore) -> str:
    return key_of(FOLDER, json.loads(store.objects[MANIFEST].data)["index"])


def test_a_commit_costs_no_more_than_one_to_an_empty_gallery(store: MemoryStore) -> None:
    large = MemoryStore()
    import_segments(open_gallery(large), 50)
    # So that both have been through one commit.
    open_gallery(store).commit([put(1), Operation(Kind.CLEAR, 0, 1.0)])
    (few, least), (requests, size) = cost_of_enrolling(store), cost_of_enrolling(large)
    assert few == requests == 3
    assert size <= least


def test_a_manifest_stays_small_whatever_it_has_been_through(store: MemoryStore) -> None:
    gallery = open_gallery(store)
    sizes = []
    for n in range(400):
        gallery.commit([put(n)])
        if n % 50 == 49:
            compact(StoredGallery(store, *WHERE, clock=lambda: 1.0, sleep=lambda s: None))
        sizes.append(len(store.objects[MANIFEST].data))
    assert max(sizes[200:]) <= max(sizes[:200]) + 200
    assert [p.id for p in open_gallery(store).refresh().list(1000)] == list(range(400))


def test_no_person_is_lost_when_segments_move_into_the_index(store: MemoryStore) -> None:
    writer, follower, second = (open_gallery(store) for _ in range(3))
    for n in range(100):
        (writer, second)[n % 2].commit([put(n)])
        assert [p.id for p in follower.refresh().list(1000)] == list(range(n + 1))
    assert index_of(store) in store.objects


@pytest.mark.parametrize("what", ["damaged", "missing"])
def test_a_bad_index_is_named_and_what_was_read_stays(store: MemoryStore, what: str) -> None:
    follower = open_gallery(store)
    import_segments(open_gallery(store), 3)
    follower.refresh()
    import_segments(open_gallery(store), 4)
    key = index_of(store)
    if what == "missing":
        del store.objects[key]
    else:
        data = store.objects[key].data.replace(b"1", b"2", 1)
        store.objects[key] = StoredObject(data, '"x"')
    for reader in (open_gallery(store), follower):
        with pytest.raises(GalleryCorrupt, match=key):
            reader.refresh()
    assert len(follower.snapshot) == 3


def test_an_index_that_was_just_swept_makes_a_reader_look_again(store: MemoryStore) -> None:
    import_segments(open_gallery(store), 3)

    def replaced(request: str, key: str) -> None:
        if "/index/" in key and request == "get":
            store.before = lambda request, key: None
            import_segments(open_gallery(store), 4)
            sweep(StoredGallery(store, *WHERE), grace_s=0)

    store.before = replaced
    assert len(open_gallery(store).refresh()) == 4


def test_an_index_that_did_not_arrive_changes_nothing(store: MemoryStore) -> None:
    gallery = open_gallery(store)
    gallery.commit([put(1)])

    def away(request: str, key: str) -> None:
        if request == "put" and "/index/" in key:
            raise Unavailable("The request got lost.")

    store.before = away
    with pytest.raises(Unavailable, match="Nothing was written"):
        import_segments(gallery, 3)
    store.before = lambda request, key: None
    assert [p.id for p in gallery.refresh().list(9)] == [1]


def test_a_gallery_of_the_first_format_is_read_and_goes_on(store: MemoryStore) -> None:
    import_segments(open_gallery(store), 3)
    whole = whole_manifest(store, store.objects[MANIFEST].data)
    first = json.loads(whole.model_dump_json())
    first |= {"format": "faces-gallery/1", "retired": []}
    del first["index"]
    store.put(MANIFEST, json.dumps(first).encode())
    gallery = open_gallery(store)
    assert len(gallery.refresh()) == 3
    gallery.commit([put(1)])
    after = json.loads(store.objects[MANIFEST].data)
    assert (after["format"], after["index"]) == ("faces-gallery/2", NO_INDEX)
    assert len(open_gallery(store).refresh()) == 4


def test_a_commit_with_a_lost_reply_that_is_forgotten_is_not_confirmed(store: MemoryStore) -> None:
    """Trying again would add the photo a second time."""
    gallery, others = open_gallery(store), open_gallery(store)
    gallery.commit([put(1)])

    def lose(request: str, key: str) -> None:
        if request == "put" and key == MANIFEST:
            store.after = lambda request, key: None
            for n in range(200):
                others.commit([put(2 + n)])
            raise Unavailable("The reply got lost.")

    store.after = lose
    with pytest.raises(Unavailable, match="not confirmed"):
        gallery.commit([Operation(Kind.APPEND, 1, 1.0, unit_rows(1, DIMENSION, seed=9))])
    person = open_gallery(store).refresh().get(1)
    assert person is not None
    assert person.photos == 2
