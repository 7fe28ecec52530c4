"""The keys with which a bucket is asked; the rest is tested on a real server."""

from __future__ import annotations

import pytest

from serving.errors import InvalidInput
from serving.gallery.location import open_store
from serving.gallery.s3 import connect
from serving.gallery.store import NotFound
from serving.settings import GallerySettings
from tests.support.memory_store import MemoryStore
from tests.support.operations import OneBucket
from tests.support.service import fake_service

KEYS = {"AWS_ACCESS_KEY_ID": "given", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.mark.parametrize(("credentials", "used"), [(KEYS, "given"), (None, "of-the-environment")])
def test_given_keys_are_used_instead_of_the_environments(
    monkeypatch: pytest.MonkeyPatch, credentials: dict[str, str] | None, used: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of the environment's keys only")
    with fake_service() as server:
        server.status, server.body = 404, b""
        store = connect(GallerySettings(endpoint=server.url), credentials=credentials)
        with pytest.raises(NotFound):
            store.get("key")
        (headers,) = server.headers
    assert f"Credential={used}/" in headers["authorization"]
    assert ("x-amz-security-token" in headers) is (credentials is None)


@pytest.mark.parametrize("blanks", ["\n", "\r\n", " "])
@pytest.mark.parametrize("token", ["", "token"])
def test_keys_with_blanks_at_their_ends(
    monkeypatch: pytest.MonkeyPatch, blanks: str, token: str
) -> None:
    """As of a Secret that was made with echo."""

    def authorization(blanks: str) -> str:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"id{blanks}")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"secret{blanks}")
        monkeypatch.setenv("AWS_SESSION_TOKEN", f"{token}{blanks}")
        with fake_service() as server:
            server.status, server.body = 404, b""
            with pytest.raises(NotFound):
                connect(GallerySettings(endpoint=server.url)).get("key")
            (headers,) = server.headers
        assert headers.get("x-amz-security-token", "") == token
        return headers["authorization"]

    assert "Credential=id/" in authorization(blanks)


@pytest.mark.parametrize("name", ["faces", "my_Bucket.1", "arn:aws:s3:eu-west-1:1:accesspoint/x"])
def test_names_of_buckets(name: str) -> None:
    assert GallerySettings(bucket=name).bucket == name


@pytest.mark.parametrize("name", ["s3://faces", "faces/", "a b", "", "faces\n", "f/galleries"])
def test_what_names_no_bucket_is_told(name: str) -> None:
    with pytest.raises(ValueError, match="a bucket is named in letters"):
        GallerySettings(bucket=name)


def test_a_store_is_opened_and_tried_with_the_given_keys() -> None:
    store = MemoryStore()
    bucket = OneBucket(store)
    assert open_store(GallerySettings(), credentials=KEYS, connect=bucket) is store
    assert bucket.credentials == KEYS
    assert "put" in {request for request, _ in store.requests}


def test_a_profile_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nope")
    with pytest.raises(InvalidInput, match="nope"):
        connect(GallerySettings())
