"""An earlier version becomes the newest one; and readers find out, however it was put back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from serving.errors import CommitConflict, InvalidInput
from serving.gallery.check import check
from serving.gallery.compaction import compact
from serving.gallery.erasure import erase
from serving.gallery.restore import Restored, as_of, restore
from serving.gallery.segment import Kind, Operation
from serving.gallery.sweep import sweep
from tests.support import fuzzing
from tests.support.older_writer import OlderWriter
from tests.support.people import DIMENSION, FOLDER, MANIFEST, put
from tests.unit.gallery.beside import Beside
from tests.unit.gallery.bucket import Bucket, delete, merge


def test_a_reader_finds_out_that_a_number_came_again(bucket: Bucket) -> None:
    bucket.write(put(1))
    backup = bucket.store.objects[MANIFEST].data
    bucket.write(put(2))
    reader = bucket.gallery()
    assert [p.id for p in reader.refresh().list(9)] == [1, 2]
    bucket.store.put(MANIFEST, backup)
    version = bucket.gallery().commit([put(3)])
    assert version == reader.snapshot.version == 2
    assert [p.id for p in reader.refresh(at_least=version).list(9)] == [1, 3]
    assert [p.id for p in reader.refresh().list(9)] == [1, 3]


def test_a_full_refresh_finds_out_too(bucket: Bucket) -> None:
    bucket.write(put(1))
    backup = bucket.store.objects[MANIFEST].data
    bucket.write(put(2))
    reader = bucket.gallery()
    reader.refresh()
    bucket.store.put(MANIFEST, backup)
    bucket.write(put(3), put(4))  # past the reader's version
    assert [p.id for p in reader.refresh().list(9)] == [1, 3, 4]


def test_a_folder_that_was_emptied_and_filled_again(bucket: Bucket) -> None:
    bucket.write(put(1))
    reader = bucket.gallery()
    reader.refresh()
    bucket.store.objects.clear()
    version = bucket.gallery().commit([put(2)])
    assert [p.id for p in reader.refresh(at_least=version).list(9)] == [2]


def test_a_version_is_restored_as_a_newer_one(bucket: Bucket) -> None:
    bucket.write(put(1), put(2), delete(1), put(3))
    reader, writer = bucket.gallery(), bucket.gallery()
    reader.refresh(), writer.refresh()
    done = restore(bucket.stored(), as_of(bucket.stored(), 2))
    assert (done.gallery_version, done.of_version, done.embeddings) == (5, 2, 2)
    for gallery in (reader, bucket.gallery()):
        assert [p.id for p in gallery.refresh(at_least=done.gallery_version).list(9)] == [1, 2]
    writer.commit([put(9)], require=[1])
    assert bucket.people() == [1, 2, 9]
    sweep(bucket.stored(), grace_s=0)
    assert check(bucket.stored()).problems == []
    assert bucket.people() == [1, 2, 9]


def test_the_empty_gallery_of_a_cleared_version(bucket: Bucket) -> None:
    bucket.write(put(1), Operation(Kind.CLEAR, 0, 1.0), put(2))
    reader = bucket.gallery()
    reader.refresh()
    restore(bucket.stored(), as_of(bucket.stored(), 2))
    assert len(reader.refresh()) == len(bucket.gallery().refresh()) == 0


def test_a_version_from_before_a_compaction_until_it_is_swept(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(40)))  # so that there is an index
    compact(bucket.stored())
    with pytest.raises(InvalidInput, match="1 to 40"):
        as_of(bucket.stored(), 41)
    backup = as_of(bucket.stored(), 20)
    restore(bucket.stored(), backup)
    assert bucket.people() == list(range(20))
    sweep(bucket.stored(), grace_s=0)
    with pytest.raises(InvalidInput, match="folded"):
        as_of(bucket.stored(), 20)
    with pytest.raises(InvalidInput, match="not in the bucket"):
        restore(bucket.stored(), backup)
    assert bucket.people() == list(range(20))


def test_a_backup_of_an_emptied_bucket(bucket: Bucket) -> None:
    bucket.write(put(1), put(2))
    objects = dict(bucket.store.objects)
    manifest = bucket.store.objects.pop(MANIFEST).data
    bucket.store.objects.clear()
    with pytest.raises(InvalidInput, match="copy it back"):
        restore(bucket.stored(), bucket.stored().file.of_backup(manifest))
    bucket.store.objects.update({k: o for k, o in objects.items() if k != MANIFEST})
    restore(bucket.stored(), bucket.stored().file.of_backup(manifest))
    assert bucket.people() == [1, 2]
    assert bucket.manifest().version == 3
    with pytest.raises(InvalidInput, match="no manifest"):
        bucket.stored().file.of_backup(b"{}")


def test_a_sweep_that_comes_between_takes_nothing_away(bucket: Bucket) -> None:
    bucket.write(put(1), put(2), delete(1))
    backup = as_of(bucket.stored(), 2)
    bucket.meanwhile(3, "put", lambda: sweep(bucket.stored(), grace_s=0))  # of the manifest
    restore(bucket.stored(), backup)
    assert bucket.people() == [1, 2]
    assert check(bucket.stored()).problems == []


def _from_a_file(bucket: Bucket, backup: bytes) -> Restored:
    return restore(bucket.stored(), bucket.stored().file.of_backup(backup))


def _by_number(bucket: Bucket, backup: bytes) -> Restored:
    version = bucket.stored().file.of_backup(backup).version
    return restore(bucket.stored(), as_of(bucket.stored(), version))


def _before_an_older_writer(bucket: Bucket, backup: bytes) -> Restored:
    """That release's commit drops all fields that are new in this one."""
    done = _from_a_file(bucket, backup)
    OlderWriter(bucket.store, FOLDER, DIMENSION).commit([put(9)])
    return done


def _after_an_older_writer(bucket: Bucket, backup: bytes) -> Restored:
    OlderWriter(bucket.store, FOLDER, DIMENSION).commit([put(9)])
    return _from_a_file(bucket, backup)


def _of_a_compacted_gallery(bucket: Bucket, backup: bytes) -> Restored:
    compact(bucket.stored())
    done = _by_number(bucket, backup)
    compact(bucket.stored())
    return done


def _interleavings() -> Iterator[tuple[int, int, int]]:
    """For `Beside`: where the restore starts, goes on, and pauses between the two; some of all in
    a usual run."""
    partly = itertools.cycle(range(max(1, round(15 / fuzzing.TIMES))))
    for starts_at in range(1, 99):
        yield starts_at, starts_at, 1  # the whole restore between two requests
        for goes_on_at in (starts_at + 1, starts_at + 3, starts_at + 6, 99):
            for pauses_at in range(1, 8):
                if next(partly) == 0:
                    yield starts_at, goes_on_at, pauses_at


_RESTORES: tuple[Callable[[Bucket, bytes], Restored], ...] = (
    _from_a_file,
    _by_number,
    _before_an_older_writer,
    _after_an_older_writer,
    _of_a_compacted_gallery,
)


@pytest.mark.fuzz
@pytest.mark.parametrize("merged", [False, True])
def test_nobody_comes_back_by_a_restore_during_an_erasure(merged: bool) -> None:
    """7 is erased; 8 too, when it was merged into 7 after the backup."""
    restored = refused = 0
    restores = itertools.cycle(_RESTORES)
    for starts_at, goes_on_at, pauses_at in _interleavings():
        restoring = next(restores)
        bucket = Bucket()
        bucket.write(put(1), put(7, name="Ada"), put(8))
        backup = bucket.store.objects[MANIFEST].data
        bucket.write(merge(7, 8) if merged else put(2))
        beside = Beside(
            bucket.store,
            partial(restoring, bucket, backup),
            starts_at=starts_at,
            pauses_at=pauses_at,
            goes_on_at=goes_on_at,
        )
        try:
            receipt = erase(bucket.stored(), [7])
        except CommitConflict:
            pytest.fail("One restore is not enough to give up.")
        finally:
            beside.finish()
        if starts_at > beside.requests:
            break
        assert isinstance(beside.outcome, Restored | InvalidInput), beside.outcome
        done = isinstance(beside.outcome, Restored)
        restored, refused = restored + done, refused + (not done)
        where = f"{restoring.__name__}: {starts_at}, {pauses_at}, {goes_on_at}"
        people = bucket.people()
        assert 7 not in people, where
        # A restore that comes before the erasure takes the merge back, and only that one.
        assert merged or 8 in people, where
        assert bucket.holds(put(8).embeddings) == (8 in people), where
        assert not bucket.holds(put(7).embeddings), where
        assert not any(b"Ada" in o.data for o in bucket.store.objects.values()), where
        if isinstance(beside.outcome, Restored) and merged and 8 in people:
            assert beside.outcome.gallery_version < receipt.gallery_version, where
        assert check(bucket.stored()).problems == [], where
    assert restored > 10
    assert refused > 2
