from __future__ import annotations

from serving.gallery.check import check
from serving.gallery.compaction import compact
from serving.gallery.erasure import erase
from serving.gallery.manifest import INDEXES
from serving.gallery.sweep import sweep
from tests.support.people import (
    MANIFEST,
    MODEL,
    put,
)
from tests.unit.gallery.bucket import Bucket

DAY = 86_400.0


def test_what_is_no_longer_listed_goes_after_the_grace_time(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(5)))
    bucket.now += 30 * DAY
    compact(bucket.stored())
    # Old objects, but a manifest listed them until just now, so a reader may need them.
    assert sweep(bucket.stored(), grace_s=3600).removed == []
    bucket.now += 3601
    dry = sweep(bucket.stored(), grace_s=3600, dry_run=True)
    # The index says what was folded, so that the version before can be found until now.
    assert [name.startswith(INDEXES) for name in dry.removed] == [False] * 5 + [True]
    assert dry.bytes > 0
    assert len(bucket.segments()) == 6
    assert sweep(bucket.stored(), grace_s=3600) == dry
    assert len(bucket.segments()) == 1
    assert check(bucket.stored()).orphans == []
    assert bucket.people() == list(range(5))


def test_what_a_dead_writer_left_goes_after_the_grace_time(bucket: Bucket) -> None:
    bucket.write(put(1))
    bucket.store.put(f"galleries/default/{MODEL}/segments/{'a' * 32}.safetensors", b"left")
    assert sweep(bucket.stored(), grace_s=60).removed == []
    bucket.now += 61
    assert sweep(bucket.stored(), grace_s=60).removed == ["a" * 32]
    assert bucket.people() == [1]


def test_a_writer_that_stalls_during_a_sweep_loses_nothing(bucket: Bucket) -> None:
    bucket.write(put(1))
    once = iter([True])

    def sweep_in_between(request: str, key: str) -> None:
        if request == "put" and key == MANIFEST and next(once, False):
            bucket.now += 10
            assert len(sweep(bucket.stored(), grace_s=0).removed) == 1

    bucket.store.before = sweep_in_between
    bucket.write(put(2))
    assert bucket.people() == [1, 2]


def test_what_is_folded_during_a_sweep_keeps_its_grace_time(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(3)))
    bucket.store.put(f"galleries/default/{MODEL}/segments/{'a' * 32}.safetensors", b"left")
    bucket.now += DAY
    bucket.meanwhile(1, "put", lambda: compact(bucket.stored()))  # of the fence
    assert sweep(bucket.stored(), grace_s=3600).removed == ["a" * 32]
    assert len(bucket.segments()) == 4


def test_what_is_listed_and_folded_during_a_sweep_keeps_its_grace_time(bucket: Bucket) -> None:
    bucket.write(put(1), put(7))
    erase(bucket.stored(), [7])  # from now on a sweep removes uploads that were never listed
    uploaded = bucket.store.objects[MANIFEST].data
    bucket.write(put(2))
    listed = bucket.store.objects[MANIFEST].data
    bucket.store.put(MANIFEST, uploaded)

    def commit_and_fold() -> None:
        bucket.store.put(MANIFEST, listed)
        compact(bucket.stored())

    bucket.meanwhile(1, "put", commit_and_fold)  # of the fence
    before = set(bucket.segments())
    sweep(bucket.stored(), grace_s=3600)
    assert before <= set(bucket.segments())
    assert bucket.people() == [1, 2]


def test_without_anything_to_sweep_nothing_is_written(bucket: Bucket) -> None:
    bucket.write(put(1))
    bucket.now += DAY
    bucket.store.requests.clear()
    sweep(bucket.stored(), grace_s=0)
    assert all(request == "get" for request, _ in bucket.store.requests)


def test_what_is_not_the_gallerys_stays_and_is_not_reported(bucket: Bucket) -> None:
    bucket.write(put(1))
    folder = f"galleries/default/{MODEL}"
    others = {f"{folder}/segments/", f"{folder}/segments/notes.txt", f"{folder}/index/old/a.json"}
    for key in others:
        bucket.store.put(key, b"left")
    bucket.now += DAY
    assert sweep(bucket.stored(), grace_s=0).removed == []
    assert others <= set(bucket.store.objects)
