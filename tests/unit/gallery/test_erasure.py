from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings

from serving.errors import GalleryCorrupt, GalleryError, Unavailable, UnknownIdentity
from serving.gallery import Gallery
from serving.gallery.check import check
from serving.gallery.compaction import compact
from serving.gallery.contents import Contents, held
from serving.gallery.erasure import erase, erase_everywhere, erase_held
from serving.gallery.location import Location
from serving.gallery.restore import restore
from serving.gallery.segment import Kind, Operation, Segment
from serving.gallery.stored import StoredGallery
from serving.gallery.sweep import sweep
from tests.support.fuzzing import examples
from tests.support.memory_store import MemoryStore
from tests.support.people import (
    DIMENSION,
    LOCATION,
    MANIFEST,
    MODEL,
    put,
    unit_rows,
)
from tests.unit.gallery.bucket import Bucket, delete, merge
from tests.unit.gallery.faulty import Crash
from tests.unit.gallery.strategies import IDS, SEGMENTS


def test_an_erased_person_is_in_no_object(bucket: Bucket) -> None:
    old, new = unit_rows(2, DIMENSION, seed=71), unit_rows(3, DIMENSION, seed=72)
    bucket.write(put(1), Operation(Kind.PUT, 7, 1.0, old, details={"name": "Ada"}), put(2))
    bucket.write(Operation(Kind.PUT, 7, 2.0, new))
    assert bucket.holds(old)
    assert bucket.holds(new)
    receipt = erase(bucket.stored(), [7])
    assert not bucket.holds(old)
    assert not bucket.holds(new)
    assert bucket.people() == [1, 2]
    assert (receipt.ids, receipt.embeddings) == ([7], 5)
    assert receipt.gallery_version == bucket.manifest().version
    assert set(receipt.objects_rewritten) <= set(receipt.objects_removed)
    assert not any(b"Ada" in o.data for o in bucket.store.objects.values())
    assert check(bucket.stored()).problems == []


def test_a_damaged_segment_stops_an_erasure_that_has_begun(bucket: Bucket) -> None:
    bucket.write(put(1), Operation(Kind.PUT, 7, 1.0, unit_rows(2, DIMENSION, seed=71)))
    contents = Contents(bucket.stored())
    assert held(contents, [7]) == {7}
    for key in [key for key in bucket.store.objects if "/segments/" in key]:
        bucket.store.put(key, b"damaged")
    with pytest.raises(GalleryCorrupt, match=r"is deleted already.*: erase again"):
        erase_held(contents, [7])


def test_a_deleted_person_can_still_be_erased(bucket: Bucket) -> None:
    rows = unit_rows(1, DIMENSION, seed=71)
    bucket.write(Operation(Kind.PUT, 7, 1.0, rows), put(1), delete(7))
    assert bucket.holds(rows)
    erase(bucket.stored(), [7])
    assert not bucket.holds(rows)


def test_what_was_merged_into_a_person_is_erased_with_him(bucket: Bucket) -> None:
    mine, other = unit_rows(1, DIMENSION, seed=71), unit_rows(2, DIMENSION, seed=72)
    bucket.write(Operation(Kind.PUT, 1, 1.0, mine), Operation(Kind.PUT, 2, 1.0, other), put(3))
    bucket.write(merge(1, 2), put(2, seed=80))
    erase(bucket.stored(), [1])
    assert not bucket.holds(mine)
    assert not bucket.holds(other)
    assert bucket.people() == [2, 3]


def test_photos_merged_into_another_person_stay_there(bucket: Bucket) -> None:
    given_away = unit_rows(2, DIMENSION, seed=72)
    bucket.write(put(1), Operation(Kind.PUT, 2, 1.0, given_away), merge(1, 2))
    bucket.write(put(2, seed=80))
    before = bucket.gallery().refresh().get(1)
    erase(bucket.stored(), [2])
    assert bucket.holds(given_away)
    assert bucket.gallery().refresh().get(1) == before
    assert bucket.people() == [1]


def test_a_person_who_is_only_in_what_was_folded_away_can_be_erased(bucket: Bucket) -> None:
    rows = unit_rows(1, DIMENSION, seed=71)
    bucket.write(Operation(Kind.PUT, 7, 1.0, rows), put(1), delete(7))
    compact(bucket.stored())
    assert bucket.holds(rows)
    assert held(Contents(bucket.stored()), [7]) == {7}
    erase(bucket.stored(), [7])
    assert not bucket.holds(rows)


def test_an_erasure_that_broke_off_can_be_repeated(bucket: Bucket) -> None:
    rows = unit_rows(1, DIMENSION, seed=71)
    bucket.write(Operation(Kind.PUT, 7, 1.0, rows), put(1))

    def away(request: str, key: str) -> None:
        if request == "delete":
            raise Unavailable("The store is away.")

    bucket.store.before = away
    with pytest.raises(Unavailable):
        erase(bucket.stored(), [7])
    assert bucket.holds(rows)
    bucket.store.before = lambda request, key: None
    receipt = erase(bucket.stored(), [7])
    assert not bucket.holds(rows)
    assert receipt.objects_removed


def test_a_clock_that_is_behind_the_buckets_erases_all_the_same(bucket: Bucket) -> None:
    bucket.store.clock = lambda: bucket.now + 3600
    bucket.store.put(f"galleries/default/{MODEL}/segments/{'a' * 32}.safetensors", b"left")
    bucket.write(put(7))
    assert "a" * 32 in erase(bucket.stored(), [7]).objects_removed


def test_embeddings_from_before_a_deletion_are_erased_after_a_merge(bucket: Bucket) -> None:
    rows = unit_rows(1, DIMENSION, seed=71)
    bucket.write(Operation(Kind.PUT, 7, 1.0, rows), delete(7), put(7, name="Ada"), put(1))
    bucket.write(merge(1, 7))
    erase(bucket.stored(), [7])
    assert not bucket.holds(rows)
    person = bucket.gallery().refresh().get(1)
    assert person is not None
    assert (person.name, person.photos) == ("Ada", 2)


def test_a_person_enrolled_again_during_an_erasure_keeps_the_name(bucket: Bucket) -> None:
    bucket.write(put(7))
    again = [put(7, name="Ada"), put(7, 2, seed=80)]
    bucket.meanwhile(5, "get", lambda: bucket.gallery().commit(again))  # after the deletion
    erase(bucket.stored(), [7])
    person = bucket.gallery().refresh().get(7)
    assert person is not None
    assert (person.name, person.photos) == ("Ada", 2)


def test_an_unknown_person_cannot_be_erased(bucket: Bucket) -> None:
    bucket.write(put(1))
    with pytest.raises(UnknownIdentity, match="7"):
        erase(bucket.stored(), [1, 7])
    assert bucket.people() == [1]


@pytest.mark.parametrize("what", ["commit", "compact"])
def test_an_erasure_beside_others_work(bucket: Bucket, what: str) -> None:
    rows = unit_rows(2, DIMENSION, seed=71)
    bucket.write(put(1), Operation(Kind.PUT, 7, 1.0, rows), put(2))
    do: dict[str, Callable[[], Any]] = {
        "commit": lambda: bucket.gallery().commit([put(9)]),
        "compact": lambda: compact(bucket.stored()),
    }
    manifests = iter([False, True])  # when the segments are replaced

    def in_between(request: str, key: str) -> None:
        if request == "put" and key == MANIFEST and next(manifests, False):
            do[what]()

    bucket.store.before = in_between
    erase(bucket.stored(), [7])
    assert not bucket.holds(rows)
    assert bucket.people() == ([1, 2, 9] if what == "commit" else [1, 2])
    assert check(bucket.stored()).problems == []


@pytest.mark.fuzz
@settings(max_examples=examples(150))
@given(SEGMENTS, IDS)
def test_erasing_a_person_changes_no_other(history: list[list[Operation]], who: int) -> None:
    bucket = Bucket()
    for operations in history:
        bucket.gallery().commit(operations)
    before = {p.id: p for p in bucket.gallery().refresh().list(99)}
    try:
        erase(bucket.stored(), [who])
    except UnknownIdentity:
        assert who not in before
    after = {p.id: p for p in bucket.gallery().refresh().list(99)}
    assert after == {i: p for i, p in before.items() if i != who}
    assert check(bucket.stored()).problems == []


OTHER = "facenet-other@ffffffffffff"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def gallery_of(store: MemoryStore, collection: str = "default", model: str = MODEL) -> Gallery:
    return Gallery(store, "galleries", Location(collection, model, DIMENSION))


def test_a_person_is_forgotten_by_the_galleries_of_all_models(store: MemoryStore) -> None:
    gallery_of(store).commit([put(7), put(1)])
    gallery_of(store, model=OTHER).commit([put(7, photos=3)])
    gallery_of(store, "staff").commit([put(7)])
    receipts = erase_everywhere(store, "galleries", "default", [7]).receipts
    assert [(r.model, r.embeddings) for r in receipts] == [(OTHER, 3), (MODEL, 1)]
    assert [p.id for p in gallery_of(store).refresh().list(9)] == [1]
    assert len(gallery_of(store, model=OTHER).refresh()) == 0
    assert len(gallery_of(store, "staff").refresh()) == 1  # another collection, another person


def test_a_person_who_is_known_to_one_model_only(store: MemoryStore) -> None:
    gallery_of(store).commit([put(7), put(1)])
    gallery_of(store, model=OTHER).commit([put(2)])
    (receipt,) = erase_everywhere(store, "galleries", "default", [7]).receipts
    assert receipt.model == MODEL
    assert gallery_of(store, model=OTHER).refresh().version == 1


def test_of_an_unknown_person_nothing_is_written(store: MemoryStore) -> None:
    with pytest.raises(UnknownIdentity):
        erase_everywhere(store, "galleries", "default", [1])
    gallery_of(store).commit([put(1)])
    with pytest.raises(UnknownIdentity, match="id 9"):
        erase_everywhere(store, "galleries", "default", [1, 9])
    assert gallery_of(store).refresh().version == 1
    assert held(Contents(StoredGallery(store, "galleries", LOCATION)), [1, 9]) == {1}


def _compaction(bucket: Bucket) -> None:
    compact(bucket.stored())


def _import(bucket: Bucket) -> None:
    segments = [Segment.of([put(7, name="Ada"), put(20)], DIMENSION), Segment.of([put(21)], 64)]
    bucket.gallery().commit_segments(lambda: segments)


@pytest.mark.parametrize("writer", [_compaction, _import])
def test_no_writer_that_dies_leaves_the_erased(writer: Callable[[Bucket], None]) -> None:
    """An erasure comes before each of its requests, and it dies before each later one."""
    tried = 0
    for erased_before in range(1, 99):
        for dies_before in range(erased_before, 99):
            bucket = Bucket()
            bucket.write(*(put(n) for n in range(3)), put(7, name="Ada"))
            requests = _Requests(bucket, erased_before, dies_before)
            with suppress(Crash):
                writer(bucket)
            bucket.store.before = lambda request, key: None
            if requests.number < dies_before:
                break
            tried += 1
            bucket.now += 60
            sweep(bucket.stored(), grace_s=86_400.0)
            assert 7 not in bucket.people()
            assert not bucket.holds(put(7).embeddings)
            assert not any(b"Ada" in o.data for o in bucket.store.objects.values())
            assert check(bucket.stored()).problems == []
        if requests.number < erased_before:
            break
    assert tried > 10


class _Requests:
    """Erases 7 before one request of a writer, and ends the writer before another."""

    def __init__(self, bucket: Bucket, erased_before: int, dies_before: int) -> None:
        self.number = 0

        def before(request: str, key: str) -> None:
            self.number += 1
            if self.number == erased_before:
                bucket.store.before = lambda request, key: None
                erase(bucket.stored(), [7])
                bucket.store.before = before
            if self.number == dies_before:
                raise Crash

        bucket.store.before = before


def test_a_restore_leaves_out_who_was_erased_since(bucket: Bucket) -> None:
    rows = put(7).embeddings
    bucket.write(put(1), put(7, name="Ada"), put(2), merge(2, 7), put(7, name="Ada", seed=5))
    backup = bucket.store.objects[MANIFEST].data
    objects = dict(bucket.store.objects)
    erase(bucket.stored(), [7])
    erase(bucket.stored(), [1])
    for key in objects.keys() - {MANIFEST}:
        bucket.store.objects[key] = objects[key]
        bucket.store.put(key, objects[key].data)
    done = restore(bucket.stored(), bucket.stored().file.of_backup(backup))
    assert done.left_out == {1, 7}
    assert bucket.people() == [2]
    sweep(bucket.stored(), grace_s=0)
    assert bucket.holds(rows)  # they are part of 2
    assert not bucket.holds(put(7, seed=5).embeddings)
    person = bucket.gallery().refresh().get(2)
    assert person is not None
    assert person.photos == 2


@pytest.mark.parametrize("bad", ["copied", "damaged", "newer"])
def test_one_bad_gallery_of_three_blocks_no_erasure(store: MemoryStore, bad: str) -> None:
    models = [f"facenet-{name}@{'0' * 12}" for name in ("a", "b", "c")]
    for model in models:
        gallery_of(store, model=model).commit([put(7), put(1)])
    manifest = f"galleries/default/{models[0]}/manifest.json"
    wrong = {
        "copied": store.objects[f"galleries/default/{models[1]}/manifest.json"].data,
        "damaged": b"{",
        "newer": b'{"format": "faces-gallery/9"}',
    }
    store.put(manifest, wrong[bad])
    erasure = erase_everywhere(store, "galleries", "default", [7])
    assert [r.model for r in erasure.receipts] == models[1:]
    assert [left.gallery for left in erasure.left] == [f"default/{models[0]}"]
    for model in models[1:]:
        assert 7 not in gallery_of(store, model=model).refresh()
    with pytest.raises(GalleryError):  # it cannot be said that nobody knows 99
        erase_everywhere(store, "galleries", "default", [99])
