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
