"""The store on S3 and on servers with its protocol (MinIO, SeaweedFS, R2…)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
)

from serving.errors import InvalidInput, StoreUnfit, Unavailable
from serving.gallery.observer import NOBODY, Observer
from serving.gallery.store import (
    DescribedStore,
    Entry,
    NotFound,
    ObjectInfo,
    PreconditionFailed,
    StoreAway,
    StoreBusy,
    StoredObject,
)
from serving.settings import GallerySettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectTypeDef

T = TypeVar("T")

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_TRIES = 3
_CONNECTIONS = 32
_MISSING = ("404", "NoSuchKey", "NotFound")
# 409: two conditional writes met; S3 guarantees neither of them, so try again.
_STALE = ("412", "PreconditionFailed", "409", "ConditionalRequestConflict")
_UNCHANGED = ("304", "NotModified")
_GALLERY = (
    "the gallery needs to get, put, delete and list objects, and to delete and list their versions"
)
# Codes of failures that pass, beside those of a status from 500 on.
_BUSY = frozenset(
    {"503", "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded"}
    | {"TooManyRequests", "RequestThrottled", "ServiceUnavailable", "Busy"}
)
_AWAY = frozenset({"RequestTimeout", "OperationAborted"})
# What an operator has to mend, and a code alone does not say.
_MEANT = {
    "RequestTimeTooSkewed": "finds the time of this machine wrong ({code}); set its clock",
    "ExpiredToken": "does not take these keys any more ({code}); get new ones",
}
_REFUSES = "refuses these keys; {needs}"
_UNFIT = {
    "NoSuchBucket": "does not exist; create it first",
    "AccessDenied": _REFUSES,
    "403": _REFUSES,
    "InvalidAccessKeyId": "does not know this access key",
    "SignatureDoesNotMatch": "refuses the secret key",
}


class Connect(Protocol):
    """Opens a bucket, as `connect` does."""

    def __call__(
        self,
        settings: GallerySettings,
        observer: Observer = ...,
        *,
        needs: str = ...,
        credentials: Mapping[str, str] | None = ...,
    ) -> DescribedStore: ...


def connect(
    settings: GallerySettings,
    observer: Observer = NOBODY,
    *,
    needs: str = _GALLERY,
    credentials: Mapping[str, str] | None = None,
) -> S3Store:
    """The store of the settings.

    Args:
        observer: called after every request.
        needs: the permissions that the keys need, for the error when they lack them.
        credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; without them the keys come from
            boto3's own chain (environment, IRSA…).

    Raises:
        InvalidInput: the environment or AWS's files say something that boto3 does not take: a
            profile that is not there, half a pair of keys, a region that is none.
    """
    try:
        client = _client(settings, credentials or _keys_of_environment())
    except BotoCoreError as error:
        sentence = str(error).rstrip(".")
        raise InvalidInput(f"The object store cannot be asked: {sentence}.") from None
    return S3Store(client, settings.bucket, observer, needs)


def _client(settings: GallerySettings, keys: Mapping[str, str]) -> S3Client:
    """Raises BotoCoreError."""
    # A session of its own: boto3's default one is not safe in threads, and keeps the first keys.
    return boto3.session.Session().client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        verify=settings.ca_file,
        aws_access_key_id=keys.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=keys.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=keys.get("AWS_SESSION_TOKEN"),
        config=Config(
            connect_timeout=settings.connect_timeout_s,
            read_timeout=settings.read_timeout_s,
            # A retry of a conditional PUT inside boto3 can meet the 412 of its own first try and
            # hide that it succeeded: only the commit tries such a PUT again, since it recognises
            # its own write. `_repeat` retries the other requests.
            retries={"total_max_attempts": 1},
            max_pool_connections=_CONNECTIONS,
            s3={"addressing_style": "path" if settings.endpoint else "auto"},
        ),
    )


def _keys_of_environment() -> dict[str, str]:
    """The keys in the environment without the blanks at their ends, where there are any; else
    nothing: boto3's own chain has them.

    A Secret that was made with ``echo`` ends in a line end. boto3 would sign with it, and the
    server would only say that the signature is wrong.
    """
    given = {name: os.environ[name] for name in _KEYS if os.environ.get(name)}
    bare = {name: value.strip() for name, value in given.items()}
    if bare == given or not all(bare.get(name) for name in _KEYS[:2]):
        return {}
    return bare


class S3Store:
    """One bucket; see `serving.gallery.store.Store`."""

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        observer: Observer = NOBODY,
        needs: str = _GALLERY,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._observer = observer
        self._needs = needs

    def get(self, key: str) -> StoredObject:
        return self._repeat("get", lambda: self._get(key))

    def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        try:
            return self._repeat("get", lambda: self._get(key, IfNoneMatch=etag))
        except ClientError as error:
            if _code(error) in _UNCHANGED:
                return None
            raise

    def put(
        self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False
    ) -> str:
        return self._put(key, data, if_match, if_absent)

    def put_described(
        self,
        key: str,
        data: bytes,
        metadata: Mapping[str, str],
        *,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> str:
        """Like `put`, with metadata, and a checksum that the store verifies and may keep."""
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        return self._put(
            key, data, if_match, if_absent, Metadata=dict(metadata), ChecksumSHA256=digest
        )

    def put_locked(self, key: str, data: bytes, mode: str, until: datetime) -> str:
        lock = {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": until}
        return self._put(key, data, None, True, **lock)

    def head(self, key: str) -> ObjectInfo:
        """What the store knows of the object. Raises NotFound."""

        def head() -> ObjectInfo:
            answer = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
            digest = answer.get("ChecksumSHA256", "-")
            return ObjectInfo(
                size=answer["ContentLength"],
                etag=_etag_of(answer),
                # With a dash it is a checksum of the checksums of parts.
                sha256=None if "-" in digest else base64.b64decode(digest).hex(),
                metadata={k.lower(): v for k, v in answer["Metadata"].items()},
            )

        return self._repeat("head", head)

    def delete(self, key: str) -> None:
        self._repeat("delete", lambda: self._client.delete_object(Bucket=self._bucket, Key=key))

    def purge(self, key: str) -> None:
        def versions() -> list[str]:
            pages = self._client.get_paginator("list_object_versions").paginate(
                Bucket=self._bucket, Prefix=key
            )
            try:
                return [
                    entry["VersionId"]
                    for page in pages
                    for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
                    if entry["Key"] == key
                ]
            except ClientError as error:
                # Stores that keep no versions (R2, Garage) may not know the request.
                if _code(error) in ("501", "NotImplemented"):
                    return []
                raise

        self.delete(key)
        # The deletion above left a marker where the bucket keeps versions, and nothing elsewhere.
        for version in self._repeat("list", versions):
            self._repeat(
                "delete",
                lambda v=version: self._client.delete_object(  # type: ignore[misc]
                    Bucket=self._bucket, Key=key, VersionId=v
                ),
            )

    def list(self, prefix: str) -> Iterator[Entry]:
        def entries() -> list[Entry]:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix
            )
            return [_entry(found) for page in pages for found in _contents_of(page)]

        # All pages in one try: an interrupted listing must not look like a short one.
        yield from self._repeat("list", entries)

    def page(self, prefix: str, after: str = "") -> Sequence[Entry]:
        # By the key, not by a token of S3: it also serves a process that goes on another day.
        found = self._repeat(
            "list",
            lambda: _contents_of(
                self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, StartAfter=after)
            ),
        )
        return [_entry(one) for one in found]

    def _put(
        self, key: str, data: bytes, if_match: str | None, if_absent: bool, **more: Any
    ) -> str:
        condition: dict[str, Any] = {}
        if if_match is not None:
            condition["IfMatch"] = if_match
        if if_absent:
            condition["IfNoneMatch"] = "*"

        def put() -> str:
            answer = self._client.put_object(
                Bucket=self._bucket, Key=key, Body=data, **condition, **more
            )
            return _etag_of(answer)

        # Without a condition, writing the same once more does no harm.
        return self._once("put", put) if condition else self._repeat("put", put)

    def _get(self, key: str, **condition: str) -> StoredObject:
        answer: Any = self._client.get_object(Bucket=self._bucket, Key=key, **condition)  # type: ignore[arg-type]
        # `closing`, since the body itself in a `with` gives a stream without its checks and errors.
        with contextlib.closing(answer["Body"]) as body:
            return StoredObject(body.read(), _etag_of(answer))

    def _repeat(self, operation: str, call: Callable[[], T]) -> T:
        """Run a call that may be repeated, again while the store is away, at most 3 times."""
        for attempt in range(1, _TRIES):
            try:
                return self._once(operation, call)
            except StoreAway:
                time.sleep(random.uniform(0, 0.1 * 2**attempt))
        return self._once(operation, call)

    def _once(self, operation: str, call: Callable[[], T]) -> T:
        start, outcome = time.perf_counter(), "error"
        try:
            answer = call()
            outcome = "ok"
            return answer
        except ClientError as error:
            code = _code(error)
            outcome = _outcome_of(code)
            if code in _MISSING:
                raise NotFound(str(error)) from None
            if code in _STALE:
                raise PreconditionFailed(code) from None
            if code in _UNCHANGED:
                raise
            if code in _UNFIT:
                reason = _UNFIT[code].format(needs=self._needs)
                raise StoreUnfit(f"The bucket {self._bucket!r} {reason}.") from error
            answers = _MEANT.get(code, "answers with the error {code}").format(code=code)
            raise _kind(error)(f"The object store {answers}.") from error
        except NoCredentialsError as error:
            outcome = "unfit"
            raise StoreUnfit(
                f"There are no keys for the bucket {self._bucket!r}; set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or give the workload a role."
            ) from error
        except (BotoCoreError, OSError) as error:
            outcome = "unreachable"
            if isinstance(error, OSError) and error.filename is not None:
                # A token that the environment names, for example.
                why = f"{error.filename} cannot be read: {error.strerror}"
                raise Unavailable(f"The object store cannot be asked: {why}.") from error
            raise StoreAway(
                f"The object store cannot be reached ({type(error).__name__})."
            ) from error
        finally:
            self._observer.requested(operation, outcome, time.perf_counter() - start)


def _etag_of(answer: Any) -> str:
    """Raises Unavailable: some other server answered, a page to log in for example."""
    if "ETag" not in answer:
        raise _no_store("an object without an ETag")
    return str(answer["ETag"])


def _contents_of(page: Any) -> Sequence[ObjectTypeDef]:
    """What a page of a listing has. Raises Unavailable, as `_etag_of`: boto3 reads a page of HTML
    as a listing of nothing."""
    if "IsTruncated" not in page:
        raise _no_store("what is no listing")
    contents: Sequence[ObjectTypeDef] = page.get("Contents", ())
    return contents


def _no_store(what: str) -> Unavailable:
    return Unavailable(f"What answers as the object store is none: it sends {what}.")


def _entry(found: ObjectTypeDef) -> Entry:
    return Entry(found["Key"], found["Size"], found["LastModified"].timestamp(), found["ETag"])


def _outcome_of(code: str) -> str:
    """The outcome for `Observer.requested`."""
    kinds = {"unchanged": _UNCHANGED, "not-found": _MISSING, "stale": _STALE, "unfit": _UNFIT}
    return next((kind for kind, codes in kinds.items() if code in codes), "error")


def _kind(error: ClientError) -> type[Unavailable]:
    """Whether such an error passes by waiting."""
    code = _code(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _BUSY or status in (429, 503):
        return StoreBusy
    # 501: the store does not know the request.
    return StoreAway if code in _AWAY or (status >= 500 and status != 501) else Unavailable


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
