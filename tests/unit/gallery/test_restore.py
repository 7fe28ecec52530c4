"""An earlier version becomes the newest one; and readers find out, however it was put back."""

from __future__ import annotations

import pytest

from serving.errors import InvalidInput
from serving.gallery.check import check
from serving.gallery.compaction import compact
from serving.gallery.restore import as_of, restore
from serving.gallery.segment import Kind, Operation
from serving.gallery.sweep import sweep
from tests.support.people import MANIFEST, put
from tests.unit.gallery.bucket import Bucket, delete


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
