from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from serving.errors import Unavailable, UnknownIdentity
from serving.gallery import Gallery
from serving.gallery.compaction import Maintenance, to_fold
from serving.gallery.manifest import Manifest, SegmentRef
from serving.gallery.segment import Kind, Operation, Segment
from serving.gallery.store import StoredObject
from tests.support.fuzzing import examples
from tests.support.memory_store import MemoryStore
from tests.support.people import (
    DIMENSION,
    FOLDER,
    MANIFEST,
    MODEL,
    put,
    unit_rows,
    whole_manifest,
)
from tests.unit.gallery.strategies import IDS, SEGMENTS

DAY = 86_400.0


class Bucket:
    """A bucket with a clock, and what one does with it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.now = 1000.0
        self.store.clock = lambda: self.now

    def gallery(self) -> Gallery:
        return Gallery(*self._which(), **self._how())

    def maintenance(self) -> Maintenance:
        return Maintenance(*self._which(), **self._how())

    def write(self, *commits: Operation) -> None:
        for operation in commits:
            self.gallery().commit([operation])

    def people(self) -> list[int]:
        return [p.id for p in self.gallery().refresh().list(1000)]

    def manifest(self) -> Manifest:
        return whole_manifest(self.store, self.store.objects[MANIFEST].data)

    def segments(self) -> list[str]:
        return [k for k in self.store.objects if "/segments/" in k]

    def holds(self, rows: Any) -> bool:
        """Whether any object holds one of these embeddings."""
        wanted = {row.tobytes() for row in np.asarray(rows, np.float16)}
        return any(
            row.tobytes() in wanted
            for key in self.segments()
            for row in Segment.from_bytes(self.store.objects[key].data).embeddings
        )

    def meanwhile(self, number: int, request: str, do: Callable[[], Any]) -> None:
        """Before the ``number``-th such request from now, do something else."""
        numbers = itertools.count(1)

        def before(name: str, key: str) -> None:
            if name == request and next(numbers) == number:
                self.store.before = lambda name, key: None
                do()

        self.store.before = before

    def _which(self) -> tuple[Any, ...]:
        return self.store, "galleries", "default", MODEL, DIMENSION

    def _how(self) -> dict[str, Any]:
        return {"clock": lambda: self.now, "sleep": lambda s: None}


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def delete(person: int) -> Operation:
    return Operation(Kind.DELETE, person, 5.0)


def merge(person: int, *sources: int) -> Operation:
    return Operation(Kind.MERGE, person, 5.0, sources=sources)


# --- compaction ----------------------------------------------------------------------------------


def test_many_commits_become_one_segment(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(20)))
    follower = bucket.gallery()
    follower.refresh()
    compaction = bucket.maintenance().compact()
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
    bucket.maintenance().compact()
    assert [p.id for p in follower.refresh().list(9)] == [2]


def test_a_gallery_that_became_empty_stays_empty_for_everybody(bucket: Bucket) -> None:
    bucket.write(put(1))
    follower = bucket.gallery()
    follower.refresh()
    bucket.write(delete(1))
    bucket.maintenance().compact()
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
    bucket.maintenance().compact()
    assert bucket.people() == [0, 1, 2, 3, 4, 9]
    assert len(bucket.manifest().segments) == 2


def test_of_two_compactions_at_once_one_wins(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(5)))
    once = iter([True])

    def compact_in_between(request: str, key: str) -> None:
        if request == "put" and key == MANIFEST and next(once, False):
            bucket.maintenance().compact()

    bucket.store.before = compact_in_between
    bucket.maintenance().compact()
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
    assert len(to_fold(refs(*sizes), DIMENSION)) == folded


def test_a_compaction_of_what_is_swept_meanwhile_begins_anew(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(3)))
    bucket.meanwhile(2, "get", lambda: bucket.maintenance().erase([0]))  # the first segment
    bucket.maintenance().compact()
    assert bucket.people() == [1, 2]
    assert len(bucket.manifest().segments) == 1


def test_a_compaction_that_lost_the_race_leaves_nobody_behind(bucket: Bucket) -> None:
    rows = unit_rows(2, DIMENSION, seed=71)
    bucket.write(put(1), Operation(Kind.PUT, 7, 1.0, rows))
    bucket.meanwhile(1, "put", lambda: bucket.maintenance().erase([7]))  # of what is folded
    bucket.maintenance().compact()
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
            written += bucket.maintenance().compact().bytes_written
    size = sum(s.bytes for s in bucket.manifest().segments)
    assert len(bucket.manifest().segments) < 20
    assert written < 60 * size
    assert bucket.people() == list(range(1000))


# --- sweeping ------------------------------------------------------------------------------------


def test_what_is_no_longer_listed_goes_after_the_grace_time(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(5)))
    bucket.now += 30 * DAY
    bucket.maintenance().compact()
    # Old objects, but until just now a reader may have been told of them.
    assert bucket.maintenance().sweep(grace_s=3600).removed == []
    bucket.now += 3601
    dry = bucket.maintenance().sweep(grace_s=3600, dry_run=True)
    assert len(dry.removed) == 5
    assert dry.bytes > 0
    assert len(bucket.segments()) == 6
    assert bucket.maintenance().sweep(grace_s=3600) == dry
    assert len(bucket.segments()) == 1
    assert bucket.maintenance().check().orphans == []
    assert bucket.people() == list(range(5))


def test_what_a_dead_writer_left_goes_after_the_grace_time(bucket: Bucket) -> None:
    bucket.write(put(1))
    bucket.store.put(f"galleries/default/{MODEL}/segments/{'a' * 32}.safetensors", b"left")
    assert bucket.maintenance().sweep(grace_s=60).removed == []
    bucket.now += 61
    assert bucket.maintenance().sweep(grace_s=60).removed == ["a" * 32]
    assert bucket.people() == [1]


def test_a_writer_that_stalls_during_a_sweep_loses_nothing(bucket: Bucket) -> None:
    bucket.write(put(1))
    once = iter([True])

    def sweep_in_between(request: str, key: str) -> None:
        if request == "put" and key == MANIFEST and next(once, False):
            bucket.now += 10
            assert len(bucket.maintenance().sweep(grace_s=0).removed) == 1

    bucket.store.before = sweep_in_between
    bucket.write(put(2))
    assert bucket.people() == [1, 2]


def test_what_is_folded_during_a_sweep_keeps_its_grace_time(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(3)))
    bucket.store.put(f"galleries/default/{MODEL}/segments/{'a' * 32}.safetensors", b"left")
    bucket.now += DAY
    bucket.meanwhile(1, "put", lambda: bucket.maintenance().compact())  # of the fence
    assert bucket.maintenance().sweep(grace_s=3600).removed == ["a" * 32]
    assert len(bucket.segments()) == 4


def test_without_anything_to_sweep_nothing_is_written(bucket: Bucket) -> None:
    bucket.write(put(1))
    bucket.now += DAY
    bucket.store.requests.clear()
    bucket.maintenance().sweep(grace_s=0)
    assert all(request == "get" for request, _ in bucket.store.requests)


# --- erasure -------------------------------------------------------------------------------------


def test_an_erased_person_is_in_no_object(bucket: Bucket) -> None:
    old, new = unit_rows(2, DIMENSION, seed=71), unit_rows(3, DIMENSION, seed=72)
    bucket.write(put(1), Operation(Kind.PUT, 7, 1.0, old, details={"name": "Ada"}), put(2))
    bucket.write(Operation(Kind.PUT, 7, 2.0, new))
    assert bucket.holds(old)
    assert bucket.holds(new)
    receipt = bucket.maintenance().erase([7])
    assert not bucket.holds(old)
    assert not bucket.holds(new)
    assert bucket.people() == [1, 2]
    assert (receipt.ids, receipt.embeddings) == ([7], 5)
    assert receipt.gallery_version == bucket.manifest().version
    assert set(receipt.objects_rewritten) <= set(receipt.objects_removed)
    assert not any(b"Ada" in o.data for o in bucket.store.objects.values())
    assert bucket.maintenance().check().problems == []


def test_a_deleted_person_can_still_be_erased(bucket: Bucket) -> None:
    rows = unit_rows(1, DIMENSION, seed=71)
    bucket.write(Operation(Kind.PUT, 7, 1.0, rows), put(1), delete(7))
    assert bucket.holds(rows)
    bucket.maintenance().erase([7])
    assert not bucket.holds(rows)


def test_what_was_merged_into_a_person_is_erased_with_him(bucket: Bucket) -> None:
    mine, other = unit_rows(1, DIMENSION, seed=71), unit_rows(2, DIMENSION, seed=72)
    bucket.write(Operation(Kind.PUT, 1, 1.0, mine), Operation(Kind.PUT, 2, 1.0, other), put(3))
    bucket.write(merge(1, 2), put(2, seed=80))
    bucket.maintenance().erase([1])
    assert not bucket.holds(mine)
    assert not bucket.holds(other)
    assert bucket.people() == [2, 3]


def test_what_was_merged_into_somebody_else_stays_with_him(bucket: Bucket) -> None:
    given_away = unit_rows(2, DIMENSION, seed=72)
    bucket.write(put(1), Operation(Kind.PUT, 2, 1.0, given_away), merge(1, 2))
    bucket.write(put(2, seed=80))
    before = bucket.gallery().refresh().get(1)
    bucket.maintenance().erase([2])
    assert bucket.holds(given_away)
    assert bucket.gallery().refresh().get(1) == before
    assert bucket.people() == [1]


def test_a_person_who_is_only_in_what_was_folded_away_can_be_erased(bucket: Bucket) -> None:
    rows = unit_rows(1, DIMENSION, seed=71)
    bucket.write(Operation(Kind.PUT, 7, 1.0, rows), put(1), delete(7))
    bucket.maintenance().compact()
    assert bucket.holds(rows)
    assert bucket.maintenance().held([7]) == {7}
    bucket.maintenance().erase([7])
    assert not bucket.holds(rows)


def test_an_erasure_that_broke_off_can_be_repeated(bucket: Bucket) -> None:
    rows = unit_rows(1, DIMENSION, seed=71)
    bucket.write(Operation(Kind.PUT, 7, 1.0, rows), put(1))

    def away(request: str, key: str) -> None:
        if request == "delete":
            raise Unavailable("The store is away.")

    bucket.store.before = away
    with pytest.raises(Unavailable):
        bucket.maintenance().erase([7])
    assert bucket.holds(rows)
    bucket.store.before = lambda request, key: None
    receipt = bucket.maintenance().erase([7])
    assert not bucket.holds(rows)
    assert receipt.objects_removed


def test_a_clock_that_is_behind_the_buckets_erases_all_the_same(bucket: Bucket) -> None:
    bucket.store.clock = lambda: bucket.now + 3600
    bucket.store.put(f"galleries/default/{MODEL}/segments/{'a' * 32}.safetensors", b"left")
    bucket.write(put(7))
    assert "a" * 32 in bucket.maintenance().erase([7]).objects_removed


def test_what_a_person_had_before_a_deletion_stays_his_when_he_is_merged(bucket: Bucket) -> None:
    rows = unit_rows(1, DIMENSION, seed=71)
    bucket.write(Operation(Kind.PUT, 7, 1.0, rows), delete(7), put(7, name="Ada"), put(1))
    bucket.write(merge(1, 7))
    bucket.maintenance().erase([7])
    assert not bucket.holds(rows)
    person = bucket.gallery().refresh().get(1)
    assert person is not None
    assert (person.name, person.photos) == ("Ada", 2)


def test_who_is_enrolled_again_during_an_erasure_keeps_the_name(bucket: Bucket) -> None:
    bucket.write(put(7))
    again = [put(7, name="Ada"), put(7, 2, seed=80)]
    bucket.meanwhile(4, "get", lambda: bucket.gallery().commit(again))  # after the deletion
    bucket.maintenance().erase([7])
    person = bucket.gallery().refresh().get(7)
    assert person is not None
    assert (person.name, person.photos) == ("Ada", 2)


def test_an_unknown_person_cannot_be_erased(bucket: Bucket) -> None:
    bucket.write(put(1))
    with pytest.raises(UnknownIdentity, match="7"):
        bucket.maintenance().erase([1, 7])
    assert bucket.people() == [1]


@pytest.mark.parametrize("what", ["commit", "compact"])
def test_an_erasure_beside_others_work(bucket: Bucket, what: str) -> None:
    rows = unit_rows(2, DIMENSION, seed=71)
    bucket.write(put(1), Operation(Kind.PUT, 7, 1.0, rows), put(2))
    do: dict[str, Callable[[], Any]] = {
        "commit": lambda: bucket.gallery().commit([put(9)]),
        "compact": lambda: bucket.maintenance().compact(),
    }
    manifests = iter([False, True])  # when the segments are replaced

    def in_between(request: str, key: str) -> None:
        if request == "put" and key == MANIFEST and next(manifests, False):
            do[what]()

    bucket.store.before = in_between
    bucket.maintenance().erase([7])
    assert not bucket.holds(rows)
    assert bucket.people() == ([1, 2, 9] if what == "commit" else [1, 2])
    assert bucket.maintenance().check().problems == []


@pytest.mark.fuzz
@settings(max_examples=examples(150))
@given(SEGMENTS, IDS)
def test_erasing_anybody_changes_nobody_else(history: list[list[Operation]], who: int) -> None:
    bucket = Bucket()
    for operations in history:
        bucket.gallery().commit(operations)
    before = {p.id: p for p in bucket.gallery().refresh().list(99)}
    try:
        bucket.maintenance().erase([who])
    except UnknownIdentity:
        assert who not in before
    after = {p.id: p for p in bucket.gallery().refresh().list(99)}
    assert after == {i: p for i, p in before.items() if i != who}
    assert bucket.maintenance().check().problems == []


# --- checking ------------------------------------------------------------------------------------


def test_a_sound_gallery_has_no_problems(bucket: Bucket) -> None:
    bucket.write(put(1, 3), put(2), merge(1, 2))
    check = bucket.maintenance().check()
    assert (check.problems, check.orphans) == ([], [])
    assert (check.version, check.segments, check.operations, check.embeddings) == (3, 3, 3, 4)


def test_what_is_swept_while_it_is_checked_is_no_problem(bucket: Bucket) -> None:
    bucket.write(put(1), put(2))
    bucket.meanwhile(3, "get", lambda: bucket.maintenance().erase([2]))  # the second segment
    assert bucket.maintenance().check().problems == []


def test_every_kind_of_damage_is_named(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(4)))
    keys = [
        f"galleries/default/{MODEL}/segments/{s.name}.safetensors"
        for s in bucket.manifest().segments
    ]
    objects = bucket.store.objects
    del objects[keys[0]]
    objects[keys[1]] = StoredObject(b"x" + objects[keys[1]].data[1:], '"x"')
    bucket.store.put(f"galleries/default/{MODEL}/segments/{'a' * 32}.safetensors", b"left")
    manifest = bucket.manifest()
    wrong = manifest.segments[3].model_copy(update={"first": 2, "operations": 9})
    broken = manifest.model_copy(update={"segments": (*manifest.segments[:3], wrong)})
    objects[MANIFEST] = StoredObject(broken.to_bytes(), '"y"')
    check = bucket.maintenance().check()
    text = "\n".join(check.problems)
    assert len(check.problems) == 4
    assert f"{keys[0]} is missing" in text
    assert f"{keys[1]} is damaged" in text
    assert "cover the same versions" in text
    assert f"other counts than the object {keys[3]}" in text
    assert check.orphans == ["a" * 32]


# --- all together --------------------------------------------------------------------------------


def test_writers_compaction_and_sweeping_side_by_side_lose_nobody(bucket: Bucket) -> None:
    done = threading.Event()
    errors: list[Exception] = []

    def maintain() -> None:
        maintenance = bucket.maintenance()
        while not done.is_set():
            try:
                maintenance.compact()
                maintenance.sweep(grace_s=0)
            except Exception as error:
                errors.append(error)

    def write(first: int) -> None:
        gallery = bucket.gallery()
        try:
            for n in range(first, first + 25):
                gallery.commit([put(n)])
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
    assert bucket.maintenance().check().problems == []
