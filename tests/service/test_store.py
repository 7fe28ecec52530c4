"""The store's contract on the real S3 server, and what happens when it is not as it should be."""

from __future__ import annotations

import boto3
import pytest
from botocore.config import Config

from serving.errors import StoreUnfit, Unavailable
from serving.gallery.s3 import S3Store, connect
from serving.gallery.store import DescribedStore
from serving.settings import GallerySettings
from serving.stack.config import BUCKET, StackSettings
from serving.stack.credentials import credentials
from tests.support.store_contract import DescribedStoreContract


@pytest.fixture
def settings(stack: StackSettings, monkeypatch: pytest.MonkeyPatch) -> GallerySettings:
    for name, value in credentials(stack.folder).items():
        monkeypatch.setenv(name, value)
    return GallerySettings(bucket=BUCKET, endpoint=f"http://127.0.0.1:{stack.s3_port}")


class TestS3Store(DescribedStoreContract):
    @pytest.fixture
    def store(self, settings: GallerySettings) -> DescribedStore:
        return connect(settings)


def test_a_missing_bucket_is_named(settings: GallerySettings) -> None:
    store = connect(settings.model_copy(update={"bucket": "nowhere"}))
    with pytest.raises(StoreUnfit, match="'nowhere' does not exist"):
        list(store.list("x"))


def test_a_wrong_key_is_told(settings: GallerySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreUnfit, match="refuses"):
        connect(settings).put("x", b"1")


def test_missing_keys_are_told(settings: GallerySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(StoreUnfit, match="no keys for the bucket"):
        connect(settings).get("x")


def test_a_store_that_is_away_is_told_promptly() -> None:
    client = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        region_name="us-east-1",
        config=Config(connect_timeout=1, retries={"total_max_attempts": 1}),
    )
    with pytest.raises(Unavailable, match="cannot be reached"):
        S3Store(client, "faces").get("x")
