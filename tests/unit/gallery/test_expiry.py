"""Whose retention has ended, in the galleries of all models of a collection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving.errors import GalleryCorrupt
from serving.gallery import Gallery, Kind, Operation
from serving.gallery.check import check
from serving.gallery.compaction import compact
from serving.gallery.erasure import erase_everywhere
from serving.gallery.expiry import ended
from serving.gallery.location import Location
from serving.gallery.retention import text_of
from serving.gallery.store import Store
from tests.support.people import DIMENSION, LOCATION, MANIFEST, put, unit_rows
from tests.unit.gallery.beside import AtOnce
from tests.unit.gallery.bucket import Bucket

OTHER = Location("default", "facenet-other@0123456789ab", DIMENSION)


def enrolled(person: int, end: float | None, time: float = 100.0) -> Operation:
    details = {"name": f"n{person}", "expires_at": None if end is None else text_of(end)}
    rows = unit_rows(1, DIMENSION, seed=person)
    return Operation(Kind.PUT, person, time, rows, details=details)


def opened(store: Store, prefix: str, location: Location) -> Gallery:
    return Gallery(store, prefix, location, sleep=lambda s: None, executor=AtOnce)


def over(bucket: Bucket, now: float) -> list[int]:
    return list(ended(bucket.store, "galleries", "default", now, opened=opened))


def test_people_are_erased_from_the_second_on_with_a_receipt(bucket: Bucket) -> None:
    bucket.write(put(1), enrolled(2, 2000), enrolled(3, 3000))
    assert over(bucket, 1999.9) == []
    assert over(bucket, 2000) == [2]
    erasure = erase_everywhere(bucket.store, "galleries", "default", over(bucket, 2000))
    (receipt,) = erasure.receipts
    assert (receipt.ids, receipt.embeddings, erasure.left) == ([2], 1, [])
    assert bucket.people() == [1, 3]
    assert not bucket.holds(unit_rows(1, DIMENSION, seed=2))
    assert not any(b"n2" in o.data for o in bucket.store.objects.values())
    assert over(bucket, 2000) == []
    assert over(bucket, 5000) == [3]
    assert check(bucket.stored()).problems == []


def test_a_date_that_was_changed_or_removed_counts_as_it_is_now(bucket: Bucket) -> None:
    bucket.write(enrolled(1, 2000), enrolled(2, 2000), enrolled(3, None))
    for person, end in ((1, 9000), (2, None), (3, 2500)):
        text = None if end is None else text_of(end)
        bucket.write(Operation(Kind.DESCRIBE, person, 200.0, details={"expires_at": text}))
    assert over(bucket, 3000) == [3]
    compact(bucket.stored())
    assert over(bucket, 3000) == [3]
    assert over(bucket, 9000) == [1, 3]


def test_a_withdrawn_consent_ends_it(bucket: Bucket) -> None:
    bucket.write(enrolled(1, 9000))
    basis = {"kind": "consent", "withdrawn_at": text_of(1500)}
    bucket.write(Operation(Kind.DESCRIBE, 1, 200.0, details={"legal_basis": basis}))
    assert over(bucket, 1500) == [1]


def test_until_the_first_end_only_manifests_are_read(bucket: Bucket) -> None:
    bucket.write(put(1), enrolled(2, 2000))
    read: list[str] = []
    bucket.store.before = lambda request, key: read.append(key)
    assert over(bucket, 1000) == []
    assert not any("/segments/" in key for key in read)


def test_of_several_models_the_record_that_was_changed_last_counts(bucket: Bucket) -> None:
    other = opened(bucket.store, "galleries", OTHER)
    bucket.write(enrolled(1, 2000), enrolled(2, 2000), enrolled(3, 9000), enrolled(4, 2000))
    for person, end, time in ((1, 9000, 200.0), (2, 9000, 50.0), (3, 2000, 200.0)):
        other.commit([enrolled(person, end, time)])
    assert over(bucket, 2000) == [2, 3, 4]


def test_while_a_gallery_cannot_be_read_nobody_is_erased(bucket: Bucket) -> None:
    opened(bucket.store, "galleries", OTHER).commit([enrolled(1, 9000, 200.0)])
    bucket.write(enrolled(1, 2000))
    bucket.store.put(MANIFEST.replace(str(LOCATION), str(OTHER)), b"{}")
    with pytest.raises(GalleryCorrupt):
        over(bucket, 2000)


def test_the_manifest_has_an_end_only_where_one_is(bucket: Bucket) -> None:
    """So an earlier version goes on writing to a gallery in which nobody's retention ends."""

    def refs() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(bucket.store.objects[MANIFEST].data)["segments"]
        return found

    bucket.write(put(1), enrolled(2, None))
    assert not any("ends" in ref for ref in refs())
    bucket.write(enrolled(3, 2000))
    assert [ref.get("ends") for ref in refs()] == [None, None, 2000.0]
    compact(bucket.stored())
    assert [ref.get("ends") for ref in bucket.manifest().model_dump()["segments"]] == [2000.0]
