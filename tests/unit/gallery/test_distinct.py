"""People who are known to be two: through every operation, in memory and in the bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from serving.gallery import Kind, Operation
from serving.gallery.check import check
from serving.gallery.compaction import compact
from serving.gallery.corrections import moved
from serving.gallery.distinct import Distinct
from serving.gallery.erasure import erase
from serving.gallery.interchange import ExportFile
from serving.gallery.records import Records, photos_of
from serving.gallery.restore import as_of, restore
from serving.gallery.segment import Segment
from serving.gallery.transfer import export_file, export_folder, import_people
from serving.gallery.undo import last_merge, undone
from tests.support.people import DIMENSION, MODEL, put
from tests.unit.gallery.bucket import Bucket, delete, merge


def distinct(a: int, b: int, threshold: float | None = 0.75) -> Operation:
    return Operation(Kind.DISTINCT, a, 5.0, sources=[b], details={"threshold": threshold})


def pairs(bucket: Bucket) -> list[tuple[int, int, float]]:
    return list(bucket.gallery().refresh().distinct.pairs())


@pytest.fixture
def people(bucket: Bucket) -> Bucket:
    bucket.write(put(1, 2, name="Ada"), put(2), put(3), put(4))
    return bucket


def test_a_pair_is_seen_from_both_sides(people: Bucket) -> None:
    people.write(distinct(3, 1))
    assert pairs(people) == [(1, 3, 0.75)]
    ada, _, eve, _ = people.gallery().refresh().list(9)
    assert (ada.distinct, eve.distinct) == ({3: 0.75}, {1: 0.75})
    people.write(distinct(1, 3, 0.5))
    assert pairs(people) == [(1, 3, 0.5)]
    people.write(distinct(3, 1, None))
    assert pairs(people) == []


def test_nobody_is_distinct_from_himself_or_from_who_is_not_enrolled(people: Bucket) -> None:
    people.write(distinct(1, 1), distinct(1, 9), put(9))
    assert pairs(people) == []


@pytest.mark.parametrize("folded", [False, True])
def test_it_goes_with_a_person_and_follows_a_merge(people: Bucket, folded: bool) -> None:
    people.write(distinct(1, 2), distinct(2, 3, 0.5), distinct(1, 3, 0.25), put(2, seed=9))
    people.write(merge(4, 2))
    expected = [(1, 3, 0.25), (1, 4, 0.75), (3, 4, 0.5)]
    if folded:
        compact(people.stored())
    assert pairs(people) == expected
    people.write(merge(3, 1))
    if folded:
        compact(people.stored())
    assert pairs(people) == [(3, 4, 0.75)]  # the higher of the two
    people.write(delete(4), put(4))
    assert pairs(people) == []


def test_a_snapshot_keeps_its_pairs(people: Bucket) -> None:
    people.write(distinct(1, 2))
    gallery = people.gallery()
    before = gallery.refresh()
    people.write(distinct(1, 3), delete(2))
    after = gallery.refresh()
    assert list(before.distinct.pairs()) == [(1, 2, 0.75)]
    assert list(after.distinct.pairs()) == [(1, 3, 0.75)]
    assert before.at(1.0).distinct is before.distinct


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("erased", [1, 2])
def test_nothing_is_left_of_a_pair_whose_one_is_erased(
    people: Bucket, erased: int, folded: bool
) -> None:
    people.write(distinct(1, 2, 0.123456), distinct(3, 4))
    if folded:
        compact(people.stored())
    erase(people.stored(), [erased])
    assert pairs(people) == [(3, 4, 0.75)]
    assert not any(b"0.123456" in o.data for o in people.store.objects.values())
    assert check(people.stored()).problems == []


def test_it_stays_when_a_photo_is_moved_and_goes_back_with_an_unmerge(people: Bucket) -> None:
    people.write(distinct(1, 4), distinct(2, 3, 0.5))
    photo = photos_of(people.gallery().records([1])[1][1])[0].id

    def change(before: Records) -> Records:
        return moved(before, 1, 4, [photo], 7.0)

    people.gallery().correct([1, 4], change, "move")
    assert pairs(people) == [(1, 4, 0.75), (2, 3, 0.5)]
    people.write(merge(1, 2))
    assert pairs(people) == [(1, 3, 0.5), (1, 4, 0.75)]

    def both(contents: Any, now: Any) -> tuple[Records, Records]:
        found = undone(contents, now, last_merge(contents, now, 1), 9.0)
        return found.before, found.after

    people.gallery().correct_from(both, "unmerge")
    assert pairs(people) == [(1, 4, 0.75), (2, 3, 0.5)]


def test_a_record_has_the_pairs_that_the_snapshot_has(people: Bucket) -> None:
    people.write(distinct(1, 2), distinct(1, 3, 0.5), merge(4, 3), delete(2), put(2))
    gallery = people.gallery()
    _, records = gallery.records([1])
    assert records[1].distinct == gallery.refresh().distinct.of(1) == {4: 0.5}
    people.write(delete(4), put(4))
    assert gallery.records([1])[1][1].distinct == {}


def test_a_restore_brings_them_back(people: Bucket) -> None:
    people.write(distinct(1, 2), distinct(1, 2, None))
    restore(people.stored(), as_of(people.stored(), 5))
    assert pairs(people) == [(1, 2, 0.75)]


@pytest.mark.parametrize("folder", [False, True])
def test_an_export_has_them_and_an_import_sets_them(
    people: Bucket, tmp_path: Path, folder: bool
) -> None:
    people.write(distinct(1, 2), distinct(2, 4, 0.5))
    if folder:
        assert export_folder(people.gallery(), MODEL, tmp_path, lambda people: None) == (4, 6)
        files = sorted(tmp_path.iterdir())
        assert len(files) == 5
    else:
        files = [tmp_path / "all.safetensors"]
        assert export_file(people.gallery(), MODEL, files[0]) == (4, 6)
    assert any(b"faces-export/3" in path.read_bytes() for path in files)
    other = Bucket()
    counts: list[int] = []
    sources = [ExportFile.open(path) for path in files]
    import_people(other.gallery(), MODEL, sources, imported=counts.append)
    assert sum(counts) == 4
    assert pairs(other) == [(1, 2, 0.75), (2, 4, 0.5)]
    assert other.people() == [1, 2, 3, 4]


def test_a_segment_with_pairs_has_a_format_of_its_own() -> None:
    segment = Segment.of([put(1), put(2), distinct(1, 2)], DIMENSION)
    assert b"faces-segment/3" in segment.to_bytes()
    again = Segment.from_bytes(segment.to_bytes())
    assert list(again.each_details())[2] == {"threshold": 0.75}


@pytest.mark.parametrize("threshold", [2.0, -1.5, "0.5", True, float("nan")])
def test_what_is_no_cosine_is_refused(threshold: Any) -> None:
    with pytest.raises(ValueError, match="details are not"):
        Segment.of([distinct(1, 2, threshold)], DIMENSION)
    with pytest.raises(ValueError, match="a pair is not two people"):
        Segment.of([Operation(Kind.DISTINCT, 1, 5.0, sources=[2, 3])], DIMENSION)


def test_pairs_of_copies_are_their_own() -> None:
    known = Distinct()
    known.set(2, 1, 0.5)
    copy = Distinct(known)
    copy.forget(1)
    assert (list(known.pairs()), list(copy.pairs())) == ([(1, 2, 0.5)], [])
    assert bool(known) != bool(copy)
