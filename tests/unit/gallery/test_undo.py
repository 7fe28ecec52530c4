"""Merges and moves are undone: photos go back to whom they were of, and what came since stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from serving.errors import NotUndoable
from serving.gallery import Kind, Operation
from serving.gallery.compaction import compact
from serving.gallery.contents import Contents
from serving.gallery.corrections import moved
from serving.gallery.erasure import erase
from serving.gallery.manifest import Manifest
from serving.gallery.records import Records, photo_id
from serving.gallery.restore import as_of, restore
from serving.gallery.sweep import sweep
from serving.gallery.undo import Change, last_change, last_merge, undone
from tests.support.people import DIMENSION, put, unit_rows
from tests.unit.gallery.bucket import Bucket, delete, merge

ROWS = unit_rows(8, DIMENSION, seed=70)
IDS = [photo_id(row.astype(np.float16).tobytes()) for row in ROWS]
NOW = 9.0


def enrolled(person: int, *rows: int, time: float = 1.0, **details: Any) -> Operation:
    return Operation(Kind.PUT, person, time, ROWS[list(rows)], details=details)


def added(person: int, row: int) -> Operation:
    return Operation(Kind.APPEND, person, 6.0, ROWS[[row]])


def move(bucket: Bucket, source: int, target: int, row: int) -> int:
    def change(before: Records) -> Records:
        return moved(before, source, target, [IDS[row]], 7.0)

    return bucket.gallery().correct([source, target], change, "move")


def take_back(bucket: Bucket, find: Callable[[Contents, Manifest], Change]) -> int:
    def both(contents: Contents, now: Manifest) -> tuple[Records, Records]:
        found = undone(contents, now, find(contents, now), NOW)
        return found.before, found.after

    return bucket.gallery().correct_from(both, "undo")


def unmerge(bucket: Bucket, person: int, *sources: int) -> int:
    return take_back(bucket, lambda contents, now: last_merge(contents, now, person, sources))


def undo(bucket: Bucket, person: int, version: int | None = None) -> int:
    return take_back(bucket, lambda contents, now: last_change(contents, now, person, version))


def photos(bucket: Bucket) -> dict[int, list[int]]:
    """The numbers of everybody's photos, sorted."""
    _, records = bucket.gallery().records(bucket.people())
    return {i: sorted(IDS.index(photo_id(row)) for row in r.rows) for i, r in records.items()}


@pytest.fixture
def three(bucket: Bucket) -> Bucket:
    basis = {"kind": "consent", "reference": "form 12"}
    bucket.write(
        enrolled(1, 0, 1, time=5.0, name="Ada"),
        enrolled(2, 2, 3, time=2.0, metadata={"desk": 4}, expires_at="2099-01-31T00:00:00Z"),
        enrolled(3, 4, time=3.0, name="Eve", legal_basis=basis),
    )
    return bucket


def test_a_merge_is_undone_as_if_it_had_not_been(three: Bucket) -> None:
    before = three.gallery().refresh().list(9)
    three.write(merge(1, 2, 3))
    (one,) = three.gallery().refresh().list(9)
    assert (one.created, one.expires_at, one.metadata) == (2.0, "2099-01-31T00:00:00Z", {"desk": 4})
    assert unmerge(three, 1) == 5
    after = three.gallery().refresh().list(9)
    assert photos(three) == {1: [0, 1], 2: [2, 3], 3: [4]}
    for old, new in zip(before, after, strict=True):
        assert (new.name, new.metadata, new.created) == (old.name, old.metadata, old.created)
        assert (new.expires_at, new.legal_basis) == (old.expires_at, old.legal_basis)
        assert new.updated == NOW


def test_one_of_those_who_were_merged_is_taken_out(three: Bucket) -> None:
    three.write(merge(1, 2, 3))
    unmerge(three, 1, 2)
    assert photos(three) == {1: [0, 1, 4], 2: [2, 3]}
    one, two = three.gallery().refresh().list(9)
    # What Ada has of Eve stays, and what she has of the other goes.
    assert (one.name, one.metadata, one.expires_at, one.created) == ("Ada", {}, None, 3.0)
    assert one.legal_basis == {"kind": "consent", "reference": "form 12"}
    assert (two.metadata, two.expires_at) == ({"desk": 4}, "2099-01-31T00:00:00Z")
    unmerge(three, 1, 3)
    assert photos(three) == {1: [0, 1], 2: [2, 3], 3: [4]}
    one = three.gallery().refresh().list(1)[0]
    assert (one.name, one.metadata, one.legal_basis) == ("Ada", {}, None)
    with pytest.raises(NotUndoable, match="merge of 2, 9 into 1 is in no version"):
        unmerge(three, 1, 2, 9)


def test_what_came_after_the_merge_stays_where_it_is(three: Bucket) -> None:
    three.write(merge(1, 2), added(1, 5), Operation(Kind.DESCRIBE, 1, 6.0, details={"name": "A"}))
    unmerge(three, 1)
    assert photos(three) == {1: [0, 1, 5], 2: [2, 3], 3: [4]}
    assert three.gallery().refresh().list(9)[0].name == "A"


def test_what_was_removed_since_does_not_come_back(three: Bucket) -> None:
    three.write(merge(1, 2), enrolled(3, 4))
    move(three, 1, 3, 3)
    unmerge(three, 1, 2)
    assert photos(three) == {1: [0, 1], 2: [2], 3: [3, 4]}
    three.write(merge(1, 2), enrolled(1, 6))  # replaces all photos
    with pytest.raises(NotUndoable, match="elsewhere or gone"):
        unmerge(three, 1, 2)


def test_a_move_is_undone_and_so_is_the_undo(three: Bucket) -> None:
    version = move(three, 1, 7, 1)
    assert photos(three) == {1: [0], 2: [2, 3], 3: [4], 7: [1]}
    undo(three, 7, version)
    assert photos(three) == {1: [0, 1], 2: [2, 3], 3: [4]}
    undo(three, 1)
    assert photos(three) == {1: [0], 2: [2, 3], 3: [4], 7: [1]}
    three.write(added(7, 6))
    undo(three, 1, version)
    assert photos(three) == {1: [0, 1], 2: [2, 3], 3: [4], 7: [6]}


def test_only_who_had_to_do_with_it_is_put_back(three: Bucket) -> None:
    three.gallery().commit([merge(1, 2), added(3, 5)])
    three.write(added(3, 6))
    undo(three, 1)
    assert photos(three) == {1: [0, 1], 2: [2, 3], 3: [4, 5, 6]}
    with pytest.raises(NotUndoable, match="A correction of this person"):
        undo(three, 3)
    with pytest.raises(NotUndoable, match="Version 2 is in no version"):
        undo(three, 3, 2)


@pytest.mark.parametrize(
    "since",
    [
        [put(2, seed=99)],
        [delete(1), put(1, seed=99)],
    ],
)
def test_under_an_id_that_is_used_again_nobody_gets_photos(
    three: Bucket, since: Sequence[Operation]
) -> None:
    three.write(merge(1, 2), *since)
    with pytest.raises(NotUndoable, match="enrolled anew"):
        unmerge(three, 1)
    assert three.manifest().version == 4 + len(since)


def test_a_later_merge_is_undone_first(three: Bucket) -> None:
    three.write(merge(2, 3), merge(1, 2))
    with pytest.raises(NotUndoable, match="elsewhere or gone"):
        unmerge(three, 2)
    unmerge(three, 1)
    unmerge(three, 2)
    assert photos(three) == {1: [0, 1], 2: [2, 3], 3: [4]}


def test_nobody_who_was_deleted_or_erased_comes_back(three: Bucket) -> None:
    three.write(merge(1, 2), delete(1))
    with pytest.raises(NotUndoable):
        unmerge(three, 1)
    three.write(enrolled(1, 0), merge(1, 3))
    erase(three.stored(), [1])
    with pytest.raises(NotUndoable):
        unmerge(three, 1)
    assert three.people() == []
    assert not three.holds(ROWS[[0, 1, 2, 3, 4]])


def test_whoever_came_back_is_erased_from_the_merge_too(three: Bucket) -> None:
    three.write(merge(1, 2))
    unmerge(three, 1)
    erase(three.stored(), [2])
    assert not three.holds(ROWS[[2]])
    assert not three.holds(ROWS[[3]])
    assert photos(three) == {1: [0, 1], 3: [4]}
    with pytest.raises(NotUndoable):
        undo(three, 1)
    assert not three.holds(ROWS[[2]])


def test_it_works_after_a_compaction_until_the_sweep(three: Bucket) -> None:
    three.write(merge(1, 2))
    compact(three.stored())
    three.write(added(3, 5))
    compact(three.stored())
    sweep(three.stored(), grace_s=3600)
    unmerge(three, 1)
    assert photos(three) == {1: [0, 1], 2: [2, 3], 3: [4, 5]}
    compact(three.stored())
    three.now += 3601
    sweep(three.stored(), grace_s=3600)
    with pytest.raises(NotUndoable, match="in no version of the gallery that is kept"):
        undo(three, 1)
    assert photos(three) == {1: [0, 1], 2: [2, 3], 3: [4, 5]}


def test_it_works_after_a_restore(three: Bucket) -> None:
    three.write(merge(1, 2))
    restore(three.stored(), as_of(three.stored(), 4))
    unmerge(three, 1)
    assert photos(three) == {1: [0, 1], 2: [2, 3], 3: [4]}


def test_another_commit_in_between_is_kept(three: Bucket) -> None:
    three.write(merge(1, 2))
    three.meanwhile(2, "put", lambda: three.write(added(1, 5)))
    assert unmerge(three, 1) == 6
    assert photos(three) == {1: [0, 1, 5], 2: [2, 3], 3: [4]}
