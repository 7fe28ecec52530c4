"""The keys with which a bucket is asked; the rest is tested on a real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.errors import InvalidInput, StoreUnfit, Unavailable
from serving.gallery.location import open_store
from serving.gallery.s3 import connect
from serving.gallery.store import NotFound, StoreAway, StoreBusy
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


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "x", "request_checksum_calculation"),
        ("AWS_RETRY_MODE", "x", "must be one of"),
        ("AWS_CONFIG_FILE", "broken", "Unable to parse config file"),
        ("AWS_ACCESS_KEY_ID", "half", "missing: AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_an_environment_that_boto3_does_not_take_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str, told: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    if value == "broken":
        (tmp_path / "config").write_text("[default\n")
        value = str(tmp_path / "config")
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidInput, match=f"The object store cannot be asked: .*{told}"):
        connect(GallerySettings())


def test_a_region_that_is_none_is_a_sentence() -> None:
    with pytest.raises(InvalidInput, match="us east 1"):
        connect(GallerySettings(region="us east 1"), credentials=KEYS)


def test_a_page_to_log_in_is_neither_an_object_nor_an_empty_listing() -> None:
    with fake_service() as server:
        server.status, server.body = 200, b"<html><body>Sign in</body></html>"
        store = connect(GallerySettings(endpoint=server.url), credentials=KEYS)
        asked: list[Callable[[], object]] = [
            lambda: store.get("key"),
            lambda: list(store.list("prefix/")),
            lambda: store.page("prefix/"),
            lambda: store.put("key", b"data", if_absent=True),
        ]
        for ask in asked:
            with pytest.raises(Unavailable, match="What answers as the object store is none"):
                ask()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("RequestTimeTooSkewed", "finds the time of this machine wrong .*; set its clock"),
        ("ExpiredToken", "does not take these keys any more"),
        ("SlowDown", "answers with the error SlowDown"),
    ],
)
def test_errors_of_the_store_in_words(code: str, told: str) -> None:
    body = f"<Error><Code>{code}</Code><Message>x</Message></Error>".encode()
    with fake_service() as server:
        server.status, server.body = 403, body
        store = connect(GallerySettings(endpoint=server.url), credentials=KEYS)
        with pytest.raises(Unavailable, match=told):
            store.get("key")


@pytest.mark.parametrize(
    ("status", "code", "kind", "requests"),
    [
        (503, "SlowDown", StoreBusy, 3),
        (403, "SlowDown", StoreBusy, 3),
        (429, "TooManyRequests", StoreBusy, 3),
        (503, "", StoreBusy, 3),  # a proxy's, in HTML
        (500, "InternalError", StoreAway, 3),
        (502, "", StoreAway, 3),
        (400, "RequestTimeout", StoreAway, 3),
        (501, "NotImplemented", Unavailable, 1),
        (403, "InvalidObjectState", Unavailable, 1),
        (400, "ExpiredToken", Unavailable, 1),
        (403, "AccessDenied", StoreUnfit, 1),
    ],
)
def test_failures_that_pass_are_known_from_refusals(
    status: int, code: str, kind: type[Exception], requests: int
) -> None:
    body = f"<Error><Code>{code}</Code></Error>" if code else "<html>down</html>"
    with fake_service() as server:
        server.status, server.body = status, body.encode()
        store = connect(GallerySettings(endpoint=server.url), credentials=KEYS)
        for ask in (lambda: store.get("key"), lambda: store.page("prefix/")):
            server.asked.clear()
            with pytest.raises(Unavailable) as caught:
                ask()
            assert type(caught.value) is kind
            assert len(server.asked) == requests


def test_a_store_without_a_server_is_away() -> None:
    store = connect(GallerySettings(endpoint="http://127.0.0.1:1"), credentials=KEYS)
    with pytest.raises(StoreAway) as caught:
        store.get("key")
    assert not isinstance(caught.value, StoreBusy)


def test_a_file_of_keys_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/faces")
    store = connect(GallerySettings(endpoint="http://127.0.0.1:9"))
    with pytest.raises(Unavailable, match="token cannot be read: No such file"):
        store.get("key")
