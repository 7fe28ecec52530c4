"""A bucket that keeps old versions of its objects: the gallery works in it, and still forgets."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import numpy as np
import pytest
from numpy.typing import NDArray

from serving.gallery import Gallery, Kind, Operation, Store, check_conditional_writes
from serving.gallery.check import check
from serving.gallery.compaction import compact
from serving.gallery.erasure import erase
from serving.gallery.s3 import S3Store
from serving.gallery.stored import StoredGallery
from serving.gallery.sweep import sweep
from tests.support import seaweed
from tests.support.people import DIMENSION, LOCATION, put, unit_rows
from tests.support.store_contract import StoreContract

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "versioned"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Client]:
    with seaweed.running(tmp_path_factory.mktemp("versions"), seaweed.PORT + 20) as server:
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=server.settings.endpoint,
            region_name=server.settings.region,
            aws_access_key_id=server.keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=server.keys["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield client


class Bucket:
    """The bucket that keeps versions: a folder of the test's own in it, and all that lies there."""

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self.folder = uuid.uuid4().hex
        self.store: Store = S3Store(client, BUCKET)

    def gallery(self) -> Gallery:
        return Gallery(self.store, self.folder, LOCATION)

    def stored(self) -> StoredGallery:
        return StoredGallery(self.store, self.folder, LOCATION)

    def versions(self, part: str = "") -> list[tuple[str, str]]:
        """Keys and ids of all versions, and of the markers of deletions."""
        pages = self._client.get_paginator("list_object_versions").paginate(
            Bucket=BUCKET, Prefix=f"{self.folder}/"
        )
        return [
            (entry["Key"], entry["VersionId"])
            for page in pages
            for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            if part in entry["Key"]
        ]

    def holds(self, rows: NDArray[np.float32]) -> bool:
        """Whether any version of any object holds one of these embeddings, as it is stored."""
        wanted = [row.tobytes() for row in rows.astype(np.float16)]
        return any(row in data for data in map(self._read, self.versions()) for row in wanted)

    def _read(self, version: tuple[str, str]) -> bytes:
        key, version_id = version
        answer = self._client.get_object(Bucket=BUCKET, Key=key, VersionId=version_id)
        return answer["Body"].read()


@pytest.fixture
def bucket(client: S3Client) -> Bucket:
    return Bucket(client)


class TestS3StoreWithVersions(StoreContract):
    @pytest.fixture
    def store(self, bucket: Bucket) -> Store:
        return bucket.store


def test_the_check_for_conditional_writes_leaves_nothing_behind(bucket: Bucket) -> None:
    check_conditional_writes(bucket.store, bucket.folder)
    assert bucket.versions() == []


def test_purging_removes_every_version_of_this_object_alone(bucket: Bucket) -> None:
    one, other = f"{bucket.folder}/a", f"{bucket.folder}/ab"
    for key in (one, other):
        bucket.store.put(key, b"1")
        bucket.store.put(key, b"2")
    bucket.store.delete(one)
    bucket.store.put(one, b"3")
    bucket.store.purge(one)
    assert [key for key, _ in bucket.versions()] == [other, other]
    assert bucket.store.get(other).data == b"2"


def test_purging_removes_what_is_older_than_the_keeping_of_versions_too(client: S3Client) -> None:
    client.create_bucket(Bucket="changing")
    store = S3Store(client, "changing")
    store.put("a", b"1")
    for status in ("Enabled", "Suspended"):
        client.put_bucket_versioning(Bucket="changing", VersioningConfiguration={"Status": status})
        store.put("a", status.encode())
    store.purge("a")
    # Of the marker of a deletion SeaweedFS cannot be rid any more; it holds nothing.
    assert not client.list_object_versions(Bucket="changing").get("Versions")


def test_the_gallery_works_as_in_any_bucket(bucket: Bucket) -> None:
    writers = [bucket.gallery(), bucket.gallery()]
    reader = bucket.gallery()
    for n in range(10):
        assert writers[n % 2].commit([put(n)]) == n + 1
    assert [p.id for p in reader.refresh().list(99)] == list(range(10))
    maintenance = bucket.stored()
    assert compact(maintenance).after == 1
    # The segments, and the list of them that a compaction leaves.
    assert len(sweep(maintenance, grace_s=0).removed) == 11
    assert len(bucket.versions("/segments/")) == 1  # of what was swept not even old versions
    writers[0].commit([Operation(Kind.DELETE, 3, 0.0)])
    for gallery in (reader, bucket.gallery()):
        assert [p.id for p in gallery.refresh().list(99)] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert check(maintenance).problems == []


def test_what_was_erased_is_in_no_version_of_any_object(bucket: Bucket) -> None:
    gallery, rows = bucket.gallery(), unit_rows(4, DIMENSION, seed=7)
    for n in range(3):
        gallery.commit([put(n)])
    gallery.commit([Operation(Kind.PUT, 7, 0.0, rows[:1])])
    gallery.commit([Operation(Kind.APPEND, 7, 0.0, rows[1:2])])
    compact(bucket.stored())
    gallery.commit([Operation(Kind.PUT, 7, 0.0, rows[2:3]), put(8)])
    gallery.commit([Operation(Kind.DELETE, 7, 0.0)])
    gallery.commit([Operation(Kind.PUT, 7, 0.0, rows[3:])])
    assert all(bucket.holds(row[None]) for row in rows)

    erase(bucket.stored(), [7])

    assert not bucket.holds(rows)
    assert [p.id for p in bucket.gallery().refresh().list(99)] == [0, 1, 2, 8]
    assert bucket.holds(unit_rows(1, DIMENSION, seed=8))
    assert check(bucket.stored()).problems == []
