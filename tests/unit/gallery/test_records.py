"""All that the bucket holds of a few people, without reading more than concerns them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from serving.gallery import Kind, Operation
from serving.gallery.compaction import compact
from serving.gallery.records import photo_id, photos_of
from tests.support.fuzzing import examples
from tests.support.people import DIMENSION, put, unit_rows
from tests.unit.gallery.bucket import Bucket, delete, merge
from tests.unit.gallery.strategies import SEGMENTS


def test_a_record_has_what_was_enrolled_appended_and_merged(bucket: Bucket) -> None:
    rows = unit_rows(4, DIMENSION, seed=5)
    bucket.write(Operation(Kind.PUT, 1, 10.0, rows[:1], details={"name": "Ada"}))
    bucket.write(Operation(Kind.PUT, 2, 20.0, rows[1:2], details={"metadata": {"desk": 4}}))
    bucket.write(Operation(Kind.APPEND, 1, 30.0, rows[2:3]), merge(1, 2))
    version, records = bucket.gallery().records([1, 2, 3])
    assert (version, list(records)) == (4, [1])
    expected = rows[[0, 2, 1]].astype(np.float16)
    assert records[1].embeddings.tobytes() == expected.tobytes()
    assert records[1].details == {"name": "Ada", "metadata": {"desk": 4}}
    assert (records[1].created, records[1].updated) == (10.0, 5.0)


def test_whoever_was_merged_into_another_person_is_gone(bucket: Bucket) -> None:
    bucket.write(put(1), put(2), merge(2, 1))
    assert list(bucket.gallery().records([1])[1]) == []
    assert bucket.gallery().records([2])[1][2].embeddings.shape == (2, DIMENSION)


def test_only_segments_that_concern_the_person_are_read(bucket: Bucket) -> None:
    bucket.write(*(put(n) for n in range(10)), delete(3))
    gallery = bucket.gallery()
    gallery.refresh()
    bucket.store.requests.clear()
    assert list(gallery.records([7])[1]) == [7]
    assert sum("/segments/" in key for _, key in bucket.store.requests) == 1


@pytest.mark.fuzz
@settings(max_examples=examples(50))
@given(SEGMENTS)
def test_of_any_history_records_are_those_that_an_export_has(
    history: list[list[Operation]],
) -> None:
    bucket = Bucket()
    for n, operations in enumerate(history):
        bucket.gallery().commit(operations)
        if n == len(history) // 2:
            compact(bucket.stored())
    gallery = bucket.gallery()
    everybody = {
        int(segment.id[n]): segment.embeddings[start:end].tobytes()
        for segment in gallery.everybody()[1]
        for n, (start, end) in enumerate(
            zip(segment.row_starts()[:-1], segment.row_starts()[1:], strict=True)
        )
        if segment.kind[n] == Kind.PUT
    }
    for person in range(6):
        _, records = gallery.records([person])
        found = {i: record.embeddings.tobytes() for i, record in records.items()}
        assert found == {i: rows for i, rows in everybody.items() if i == person}


def test_a_photo_that_is_unlike_the_others_shows(bucket: Bucket) -> None:
    mine, other = unit_rows(2, DIMENSION, seed=3)
    near = mine + 0.1 * unit_rows(2, DIMENSION, seed=4)
    rows = np.stack([mine, other, *near])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    bucket.write(Operation(Kind.PUT, 1, 1.0, rows))
    photos = photos_of(bucket.gallery().records([1])[1][1])
    assert [p.id for p in photos] == [photo_id(row.astype(np.float16).tobytes()) for row in rows]
    alike = [p.similarity or 0.0 for p in photos]
    assert min(range(4), key=alike.__getitem__) == 1
    sums = rows.sum(axis=0) - rows
    expected = (rows * sums).sum(axis=1) / np.linalg.norm(sums, axis=1)
    np.testing.assert_allclose(alike, expected, atol=2e-3)


def test_an_only_photo_is_like_no_other(bucket: Bucket) -> None:
    bucket.write(put(1))
    (photo,) = photos_of(bucket.gallery().records([1])[1][1])
    assert photo.similarity is None
