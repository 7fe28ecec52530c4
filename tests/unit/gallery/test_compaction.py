from __future__ import annotations

import itertools
import threading
import weakref

import pytest

from serving.errors import CommitConflict, GalleryCorrupt
from serving.gallery.check import check
from serving.gallery.compaction import compact, to_fold
from serving.gallery.erasure import erase
from serving.gallery.limits import Limits
from serving.gallery.manifest import SegmentRef
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
)
from tests.unit.gallery.bucket import Bucket, delete


def test_many_commits_become_one_segment(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(20)))
    follower = bucket.gallery()
    follower.refresh()
    compaction = compact(bucket.stored())
    assert (compaction.before, compaction.after) == (20, 1)
    assert bucket.people() == list(range(20))
    assert bucket.manifest().version == 20
    bucket.write(put(50))
    bucket.store.requests.clear()
    assert len(follower.refresh()) == 21
    read = [key.removeprefix(FOLDER).split("/")[1] for _, key in bucket.store.requests]
    assert read == ["manifest.json", "index", "segments"]  # the new one: no reload


def test_a_follower_in_the_middle_of_what_was_folded_reloads(bucket: Bucket) -> None:
    bucket.write(put(1))
    follower = bucket.gallery()
    follower.refresh()
    bucket.write(put(2), delete(1))
    compact(bucket.stored())
    assert [p.id for p in follower.refresh().list(9)] == [2]


def test_a_gallery_that_became_empty_stays_empty_for_everybody(bucket: Bucket) -> None:
    bucket.write(put(1))
    follower = bucket.gallery()
    follower.refresh()
    bucket.write(delete(1))
    compact(bucket.stored())
    assert bucket.people() == []
    assert [p.id for p in follower.refresh().list(9)] == []


def test_commits_during_a_compaction_are_kept(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(5)))
    writer = bucket.gallery()
    once = iter([True])

    def commit_in_between(request: str, key: str) -> None:
        if request == "put" and key == MANIFEST and next(once, False):
            writer.commit([put(9)])

    bucket.store.before = commit_in_between
    compact(bucket.stored())
    assert bucket.people() == [0, 1, 2, 3, 4, 9]
    assert len(bucket.manifest().segments) == 2


def test_of_two_compactions_at_once_one_wins(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(5)))
    once = iter([True])

    def compact_in_between(request: str, key: str) -> None:
        if request == "put" and key == MANIFEST and next(once, False):
            compact(bucket.stored())

    bucket.store.before = compact_in_between
    compact(bucket.stored())
    assert bucket.people() == list(range(5))
    assert len(bucket.manifest().segments) == 1


def refs(*sizes: int) -> list[SegmentRef]:
    return [
        SegmentRef(name=f"{n:032x}", first=n, last=n, bytes=size, sha256="", operations=1, rows=1)
        for n, size in enumerate(sizes, 1)
    ]


MB = 2**20


@pytest.mark.parametrize(
    ("sizes", "folded"),
    [
        ([], 0),
        ([1], 1),
        ([1, 1, 1], 3),
        ([100 * MB, 1000, 1000], 2),
        ([100 * MB, 40 * MB, 30 * MB, 20 * MB], 4),
        ([200 * MB, 200 * MB], 0),
        ([200 * MB, 200 * MB, 1000], 1),
        ([200 * MB, 60 * MB, 60 * MB], 3),
    ],
)
def test_what_is_folded_is_in_proportion_to_what_is_new(sizes: list[int], folded: int) -> None:
    limits = Limits(segment_bytes=256 * MB)
    assert len(to_fold(refs(*sizes), DIMENSION, limits)) == folded


def test_a_compaction_starts_again_when_its_segments_were_swept(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(3)))
    bucket.meanwhile(2, "get", lambda: erase(bucket.stored(), [0]))  # the first segment
    compact(bucket.stored())
    assert bucket.people() == [1, 2]
    assert len(bucket.manifest().segments) == 1


def test_a_compaction_that_lost_the_race_leaves_no_erased_person_behind(bucket: Bucket) -> None:
    rows = unit_rows(2, DIMENSION, seed=71)
    bucket.write(put(1), Operation(Kind.PUT, 7, 1.0, rows))
    bucket.meanwhile(1, "put", lambda: erase(bucket.stored(), [7]))  # of what is folded
    compact(bucket.stored())
    assert not bucket.holds(rows)
    assert bucket.people() == [1]


def test_what_was_imported_at_once_is_folded_together_or_not_at_all(bucket: Bucket) -> None:
    large, small, new = refs(200 * MB, 10 * MB, 10 * MB)
    small = small.model_copy(update={"first": 1, "last": 1})
    large = large.model_copy(update={"first": 1, "last": 1})
    assert to_fold([large, small, new], DIMENSION) == [new]


def test_over_a_thousand_commits_each_embedding_is_rewritten_a_few_times(bucket: Bucket) -> None:
    written = 0
    for n in range(1000):
        bucket.write(put(n))
        if n % 10 == 9:
            written += compact(bucket.stored()).bytes_written
    size = sum(s.bytes for s in bucket.manifest().segments)
    assert len(bucket.manifest().segments) < 20
    assert written < 60 * size
    assert bucket.people() == list(range(1000))


def test_writers_compaction_and_sweeping_side_by_side_lose_no_person(bucket: Bucket) -> None:
    done = threading.Event()
    errors: list[Exception] = []

    def maintain() -> None:
        maintenance = bucket.stored()
        while not done.is_set():
            try:
                compact(maintenance)
                sweep(maintenance, grace_s=0)
            except Exception as error:
                errors.append(error)

    def write(first: int) -> None:
        gallery = bucket.gallery()
        try:
            n = first
            while n < first + 25:
                try:
                    gallery.commit([put(n)])
                except CommitConflict:  # the others were faster each time: nothing was written
                    continue
                n += 1
        except Exception as error:
            errors.append(error)

    keeper = threading.Thread(target=maintain)
    writers = [threading.Thread(target=write, args=(100 * n,)) for n in range(4)]
    for thread in (keeper, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    keeper.join()
    assert errors == []
    assert bucket.people() == [n for first in range(0, 400, 100) for n in range(first, first + 25)]
    assert check(bucket.stored()).problems == []


def test_what_was_written_before_a_segment_was_missed_is_removed(bucket: Bucket) -> None:
    """Another process has folded and swept what is being folded, in the middle of it."""
    limits = Limits(segment_bytes=26 * 2 * DIMENSION)  # of 48 rows
    bucket.write(*(put(n, 4) for n in range(12)))
    reads = 0

    def before(request: str, key: str) -> None:
        nonlocal reads
        if request == "get" and "/segments/" in key:
            reads += 1
            if reads == 12 + 8:
                del bucket.store.objects[key]

    bucket.store.before = before
    with pytest.raises(GalleryCorrupt, match="is missing"):
        compact(StoredGallery(bucket.store, "galleries", LOCATION, limits=limits))
    assert len(bucket.segments()) == 11
    assert sum(r == "put" and "/segments/" in k for r, k in bucket.store.requests) == 12 + 1


def test_memory_holds_the_embeddings_of_few_segments(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is read twice: for its operations, and when its embeddings are written."""
    monkeypatch.setattr("serving.gallery.objects._AHEAD_BYTES", 1)
    rows = 50
    limits = Limits(segment_bytes=rows * 2 * DIMENSION)
    for n in range(8):
        segment = Segment.of([put(100 * n + i) for i in range(rows)], DIMENSION)
        bucket.gallery().commit_segments(lambda segment=segment: [segment])  # type: ignore[misc]
    held: weakref.WeakValueDictionary[int, Bytes] = weakref.WeakValueDictionary()
    numbers, most = itertools.count(), 0

    def copied(key: str) -> StoredObject:
        nonlocal most
        found = MemoryStore.get(bucket.store, key)
        if "/segments/" not in key:
            return found
        copy = Bytes(found.data)
        held[next(numbers)] = copy
        most = max(most, len(held))
        return StoredObject(copy, found.etag)  # type: ignore[arg-type]

    monkeypatch.setattr(bucket.store, "get", copied)
    done = compact(StoredGallery(bucket.store, "galleries", LOCATION, limits=limits))
    assert (done.before, done.after) == (8, 8)
    assert most <= 4
    monkeypatch.undo()
    assert bucket.people() == [100 * n + i for n in range(8) for i in range(rows)]


class Bytes(bytearray):
    """Can be referred to weakly."""
