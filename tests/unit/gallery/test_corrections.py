"""A photo becomes another person's: in memory, in the bucket, and when one of the two is erased."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from serving.errors import UnknownIdentity, UnknownPhoto
from serving.gallery import Gallery, Kind, Operation
from serving.gallery.check import check
from serving.gallery.compaction import compact
from serving.gallery.corrections import moved, segment_of, without_photos
from serving.gallery.erasure import erase
from serving.gallery.records import Records, photo_id
from serving.gallery.restore import as_of, restore
from serving.gallery.segment import Segment
from serving.gallery.sweep import sweep
from tests.support.people import DIMENSION, put, unit_rows
from tests.unit.gallery.bucket import Bucket, merge

ROWS = unit_rows(6, DIMENSION, seed=70)
IDS = [photo_id(row.astype(np.float16).tobytes()) for row in ROWS]


def move(gallery: Gallery, source: int, target: int, photos: Sequence[str]) -> int:
    def change(before: Records) -> Records:
        return moved(before, source, target, photos, 7.0)

    return gallery.correct([source, target], change, "move")


def remove(gallery: Gallery, person: int, photos: Sequence[str]) -> int:
    def change(before: Records) -> Records:
        return without_photos(before, person, photos, 7.0)

    return gallery.correct([person], change, "remove")


def enrolled(person: int, *rows: int, **details: Any) -> Operation:
    return Operation(Kind.PUT, person, 1.0, ROWS[list(rows)], details=details)


def rows_of(bucket: Bucket, person: int) -> list[int]:
    """The numbers of the person's photos."""
    _, records = bucket.gallery().records([person])
    return [IDS.index(photo_id(row)) for row in records[person].rows] if records else []


@pytest.fixture
def two(bucket: Bucket) -> Bucket:
    """Person 1 with three photos, of which the second is person 2's."""
    bucket.write(enrolled(1, 0, 1, 2, name="Ada"), enrolled(2, 3, name="Eve"), put(9))
    return bucket


def test_a_moved_photo_is_the_other_persons(two: Bucket) -> None:
    reader = two.gallery()
    reader.refresh()
    version = move(two.gallery(), 1, 2, [IDS[1]])
    assert version == 4
    assert (rows_of(two, 1), rows_of(two, 2)) == ([0, 2], [3, 1])
    for gallery in (reader, two.gallery()):
        ada, eve, other = gallery.refresh().list(9)
        assert (ada.name, ada.photos, ada.created, ada.updated) == ("Ada", 2, 1.0, 7.0)
        assert (eve.name, eve.photos, eve.created, eve.updated) == ("Eve", 2, 1.0, 7.0)
        assert other.updated == 100.0
        probe = ROWS[1:2]
        ids, cosines, _ = gallery.snapshot.search(probe, 3)
        assert ids[0, 0] == 2
        both = ROWS[3] + ROWS[1]
        assert cosines[0, 0] == pytest.approx(probe[0] @ both / np.linalg.norm(both), abs=2e-3)
    act = two.manifest().commits[-1].acts
    assert [a.action for a in act] == ["move"]
    assert check(two.stored()).problems == []


def test_somebody_new_gets_the_photos_and_the_end_of_their_retention(bucket: Bucket) -> None:
    basis = {"kind": "consent", "reference": "form 12"}
    end = "2099-01-31T00:00:00Z"
    bucket.write(enrolled(1, 0, 1, 2, name="Ada", expires_at=end, legal_basis=basis))
    move(bucket.gallery(), 1, 5, [IDS[2], IDS[0]])
    ada, new = bucket.gallery().refresh().list(9)
    assert (ada.photos, ada.name, ada.legal_basis) == (1, "Ada", basis)
    assert (new.id, new.photos, new.name, new.legal_basis) == (5, 2, None, None)
    assert (new.expires_at, new.created, new.updated) == (end, 7.0, 7.0)


def test_whoever_has_no_photo_left_is_gone(two: Bucket) -> None:
    move(two.gallery(), 2, 1, [IDS[3]])
    assert two.people() == [1, 9]
    assert rows_of(two, 1) == [0, 1, 2, 3]


def test_of_equal_photos_one_is_moved(bucket: Bucket) -> None:
    bucket.write(enrolled(1, 0, 0, 1), enrolled(2, 3))
    move(bucket.gallery(), 1, 2, [IDS[0]])
    assert (rows_of(bucket, 1), rows_of(bucket, 2)) == ([0, 1], [3, 0])


def test_what_is_not_there_cannot_be_moved(two: Bucket) -> None:
    with pytest.raises(UnknownIdentity, match="under the id 8"):
        move(two.gallery(), 8, 2, [IDS[1]])
    with pytest.raises(UnknownPhoto, match="1 has no photo 0000000000000000"):
        move(two.gallery(), 1, 2, [IDS[1], "0" * 16])
    assert two.manifest().version == 3


def test_another_commit_in_between_is_kept(two: Bucket) -> None:
    def append() -> None:
        two.gallery().commit([Operation(Kind.APPEND, 1, 6.0, ROWS[4:5])])

    two.meanwhile(2, "put", append)  # before the manifest is replaced
    assert move(two.gallery(), 1, 2, [IDS[1]]) == 5
    assert (rows_of(two, 1), rows_of(two, 2)) == ([0, 2, 4], [3, 1])
    # The upload of the first attempt is gone.
    assert len(two.segments()) == 5


def test_a_segment_that_was_swept_meanwhile_is_no_damage(two: Bucket) -> None:
    gallery = two.gallery()

    def fold() -> None:
        compact(two.stored())
        sweep(two.stored(), grace_s=0)

    two.meanwhile(2, "get", fold)  # the manifest is read, its segments are not
    move(gallery, 1, 2, [IDS[1]])
    assert (rows_of(two, 1), rows_of(two, 2)) == ([0, 2], [3, 1])


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("erased", [1, 2])
def test_erasing_one_of_the_two_leaves_nothing_of_that_one_and_all_of_the_other(
    two: Bucket, erased: int, folded: bool
) -> None:
    move(two.gallery(), 1, 2, [IDS[1]])
    two.write(enrolled(3, 5))
    if folded:
        compact(two.stored())
    before = {p.id: p for p in two.gallery().refresh().list(9)}
    erase(two.stored(), [erased])
    mine, others = ([0, 2], [1, 3]) if erased == 1 else ([1, 3], [0, 2])
    for row in mine:
        assert not two.holds(ROWS[[row]])
    for row in others:
        assert two.holds(ROWS[[row]])
    name = b"Ada" if erased == 1 else b"Eve"
    assert not any(name in o.data for o in two.store.objects.values())
    after = {p.id: p for p in two.gallery().refresh().list(9)}
    assert after == {i: p for i, p in before.items() if i != erased}


def test_a_photo_that_was_moved_on_is_erased_where_it_ever_was(two: Bucket) -> None:
    two.write(enrolled(3, 5))
    move(two.gallery(), 1, 2, [IDS[1]])
    move(two.gallery(), 2, 3, [IDS[1]])
    two.write(put(4), merge(4, 3))
    erase(two.stored(), [4])
    assert not two.holds(ROWS[[1]])
    assert not two.holds(ROWS[[5]])
    assert two.holds(ROWS[[0, 2, 3]])
    assert [rows_of(two, i) for i in (1, 2)] == [[0, 2], [3]]


def test_what_was_replaced_before_a_move_stays_its_persons_whoever_is_merged_later(
    two: Bucket,
) -> None:
    two.write(enrolled(1, 4))
    move(two.gallery(), 1, 3, [IDS[4]])  # the last one: nobody is 1 then
    two.write(merge(1, 3), merge(4, 1), enrolled(1, 5))
    erase(two.stored(), [1])
    for row in (0, 1, 2, 5):
        assert not two.holds(ROWS[[row]])
    assert not any(b"Ada" in o.data for o in two.store.objects.values())
    assert (rows_of(two, 2), rows_of(two, 4)) == ([3], [4])


@pytest.mark.parametrize("folded", [False, True])
def test_a_photo_that_was_removed_goes_with_a_sweep_or_with_its_person(
    two: Bucket, folded: bool
) -> None:
    remove(two.gallery(), 1, [IDS[1]])
    assert rows_of(two, 1) == [0, 2]
    assert two.holds(ROWS[[1]])
    if folded:
        compact(two.stored())
        sweep(two.stored(), grace_s=0)
    else:
        erase(two.stored(), [1])
    assert not two.holds(ROWS[[1]])
    assert two.holds(ROWS[[3]])
    assert rows_of(two, 1) == ([0, 2] if folded else [])


def test_whoever_loses_the_last_photo_is_gone(two: Bucket) -> None:
    remove(two.gallery(), 2, [IDS[3]])
    assert [p.id for p in two.gallery().refresh().list(9)] == [1, 9]
    two.write(enrolled(2, 4, name="Bo"))
    person = two.gallery().refresh().get(2)
    assert person is not None
    assert (person.name, person.photos) == ("Bo", 1)


def test_a_version_from_before_is_restored_with_the_photo_where_it_was(two: Bucket) -> None:
    move(two.gallery(), 1, 2, [IDS[1]])
    restore(two.stored(), as_of(two.stored(), 3))
    assert (rows_of(two, 1), rows_of(two, 2)) == ([0, 1, 2], [3])


def test_a_gallery_with_a_correction_has_a_format_of_its_own(two: Bucket) -> None:
    move(two.gallery(), 1, 2, [IDS[1]])
    (newest,) = (s for s in two.manifest().segments if s.first == 4)
    data = two.store.objects[two.stored().objects.key(newest.name)].data
    assert b"faces-segment/3" in data
    assert b"faces-segment/1" in Segment.of([put(1)], DIMENSION).to_bytes()


def test_whoever_stays_as_they_were_is_not_written(two: Bucket) -> None:
    _, before = two.gallery().records([1, 2])
    assert segment_of(before, before, DIMENSION, 7.0) is None
    segment = segment_of(before, moved(before, 1, 2, [IDS[1]], 7.0), DIMENSION, 8.0)
    assert segment is not None
    assert [Kind(k) for k in segment.kind] == [Kind.SPLIT, Kind.PUT, Kind.APPEND]
    assert (segment.id.tolist(), segment.sources.tolist()) == ([1, 1, 2], [2])
