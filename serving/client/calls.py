"""The calls of the API: the request of each, and when it may be retried."""

from __future__ import annotations

import enum
import json
import operator
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, SupportsIndex, TypeVar

from serving.client import answers
from serving.client.errors import ClientError
from serving.client.photos import File, Photo, file_of, files_of
from serving.errors import CommitConflict, NoRoom, Overloaded, TooManyRequests, Unavailable

A = TypeVar("A")  # the answer
# With a time zone; a text is one of RFC 3339.
Time = datetime | str


class Unset(enum.Enum):
    """The default of arguments for which None has a meaning: the value stays as it is."""

    UNSET = enum.auto()


UNSET = Unset.UNSET


class Rows(Protocol):
    """A numpy array (P, D), or a torch tensor."""

    def tolist(self) -> list[list[float]]: ...


@dataclass(frozen=True)
class Call(Generic[A]):
    """One call. Every attempt of it is logged under the same request id.

    Attributes:
        writes: it changes the gallery, so it must not be sent twice.
        rejections: types of problems after which nothing of it was done, so that it may be sent
            again even if it writes.
        once: it reports the present state, so a later answer is of no use.
        also: statuses besides 2xx that are answers.
        shared: it concerns the service, not a collection.
        member: of every answer: one without it is something else's.
        lines: of a stream: how many answers there are, each in a line.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: bytes | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[tuple[str, File]] = ()
    writes: bool = False
    rejections: frozenset[str] = frozenset()
    once: bool = False
    also: Sequence[int] = ()
    shared: bool = False
    member: str = ""
    lines: int = 0
    timeout_s: float | None = None
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)


# Refused before the work began.
_BEFORE = frozenset({TooManyRequests.type, Overloaded.type, NoRoom.type})
# Or the commit failed. A write with an unknown outcome is answered with a type of its own.
_NOTHING_WRITTEN = _BEFORE | {CommitConflict.type, Unavailable.type}
# Erasing takes several commits; when one fails or loses a race, earlier ones have been made.
_ERASURE = _BEFORE


def infer(
    photo: Photo,
    top_k: int | None,
    threshold: float | None,
    max_faces: int | None,
    timeout_s: float | None,
) -> Call[answers.InferAnswer]:
    params = _given(top_k=top_k, threshold=threshold, max_faces=max_faces)
    files = [("image", file_of(photo))]
    return Call("POST", "/infer", params=params, files=files, member="faces", timeout_s=timeout_s)


def infer_stream(
    files: Sequence[File],
    top_k: int | None,
    threshold: float | None,
    max_faces: int | None,
    timeout_s: float | None,
) -> Call[list[answers.InferAnswer | ClientError]]:
    return Call(
        "POST",
        "/infer/stream",
        params=_given(top_k=top_k, threshold=threshold, max_faces=max_faces),
        files=[("image", file) for file in files],
        lines=len(files),
        timeout_s=timeout_s,
    )


def detect(
    photo: Photo, max_faces: int | None, timeout_s: float | None
) -> Call[answers.DetectAnswer]:
    params, files = _given(max_faces=max_faces), [("image", file_of(photo))]
    return Call(
        "POST",
        "/detect",
        params=params,
        files=files,
        shared=True,
        member="faces",
        timeout_s=timeout_s,
    )


def verify(
    photo_a: Photo, photo_b: Photo, threshold: float | None, timeout_s: float | None
) -> Call[answers.VerifyAnswer]:
    files = [("image_a", file_of(photo_a)), ("image_b", file_of(photo_b))]
    params = _given(threshold=threshold)
    return Call(
        "POST",
        "/verify",
        params=params,
        files=files,
        shared=True,
        member="same",
        timeout_s=timeout_s,
    )


def generate(
    person: SupportsIndex,
    photos: Photo | Iterable[Photo],
    name: str | None,
    append: bool,
    force: bool,
    expires_at: Time | None,
    legal_basis: Mapping[str, Any] | None,
    timeout_s: float | None,
) -> Call[answers.GenerateAnswer]:
    fields = {
        "id": str(_id(person)),
        "mode": "append" if append else "replace",
        **({"force": "true"} if force else {}),
        **_given(name=name, expires_at=_time(expires_at)),
        **({} if legal_basis is None else {"legal_basis": _json(legal_basis).decode()}),
    }
    if not isinstance(name, str | None):
        raise TypeError(f"A name is text, not {type(name).__name__}.")
    try:
        (name or "").encode()
    except UnicodeEncodeError:
        raise ClientError(f"The name {name!r} is no text that can be sent.") from None
    files = [("images", file) for file in files_of(photos)]
    if not files:  # for example from a pattern that matches no file
        raise ValueError("Give at least one photo.")
    return Call(
        "POST",
        "/generate",
        fields=fields,
        files=files,
        writes=True,
        rejections=_NOTHING_WRITTEN,
        timeout_s=timeout_s,
    )


def page(
    limit: int, cursor: int | None, expires_before: Time | None, timeout_s: float | None
) -> Call[answers.IdentitiesAnswer]:
    params = _given(limit=limit, cursor=cursor, expires_before=_time(expires_before))
    return Call("GET", "/identities", params=params, member="identities", timeout_s=timeout_s)


# As many as are taken: of more, a page leaves out the least similar.
_PAIRS = 1000


def duplicates(
    cursor: int | None, threshold: float | None, timeout_s: float | None
) -> Call[answers.DuplicatesAnswer]:
    params = _given(limit=_PAIRS, cursor=cursor, threshold=threshold)
    return Call("GET", "/duplicates", params=params, member="duplicates", timeout_s=timeout_s)


def audit(
    limit: int,
    cursor: str | None,
    since: Time | None,
    until: Time | None,
    key: str | None,
    person: SupportsIndex | None,
    action: str | None,
    request_id: str | None,
    timeout_s: float | None,
) -> Call[answers.AuditAnswer]:
    params = _given(
        limit=limit,
        cursor=cursor,
        since=_time(since),
        until=_time(until),
        key=key,
        person=None if person is None else _id(person),
        action=action,
        request_id=request_id,
    )
    return Call("GET", "/audit", params=params, member="records", timeout_s=timeout_s)


def audit_chains(
    days: int, cursor: str | None, timeout_s: float | None
) -> Call[answers.ChainsAnswer]:
    params = _given(days=days, cursor=cursor)
    return Call(
        "GET", "/audit/chains", params=params, shared=True, member="chains", timeout_s=timeout_s
    )


def identity(person: SupportsIndex, timeout_s: float | None) -> Call[answers.IdentityAnswer]:
    return Call("GET", _path(person), timeout_s=timeout_s)


def describe(
    person: SupportsIndex,
    name: str | Unset | None,
    metadata: Mapping[str, Any] | Unset | None,
    expires_at: Time | Unset | None,
    legal_basis: Mapping[str, Any] | Unset | None,
    timeout_s: float | None,
) -> Call[answers.IdentityAnswer]:
    patch: dict[str, Any] = {}
    if name is not UNSET:
        patch["name"] = name
    if metadata is not UNSET:
        patch["metadata"] = metadata
    if not isinstance(expires_at, Unset):
        patch["expires_at"] = _time(expires_at)
    if legal_basis is not UNSET:
        patch["legal_basis"] = legal_basis
    return Call(
        "PATCH",
        _path(person),
        json=_json(patch),
        writes=True,
        rejections=_NOTHING_WRITTEN,
        timeout_s=timeout_s,
    )


def delete(person: SupportsIndex, timeout_s: float | None) -> Call[answers.WriteAnswer]:
    return Call(
        "DELETE", _path(person), writes=True, rejections=_NOTHING_WRITTEN, timeout_s=timeout_s
    )


def delete_all(timeout_s: float | None) -> Call[answers.WriteAnswer]:
    return Call(
        "DELETE",
        "/identities",
        params={"confirm": "all"},
        writes=True,
        rejections=_NOTHING_WRITTEN,
        timeout_s=timeout_s,
    )


def erase(person: SupportsIndex, timeout_s: float | None) -> Call[answers.ErasureReceipt]:
    return Call(
        "DELETE",
        _path(person),
        params={"erase": "true"},
        writes=True,
        rejections=_ERASURE,
        timeout_s=timeout_s,
    )


def withdraw(person: SupportsIndex, timeout_s: float | None) -> Call[answers.ErasureReceipt]:
    path = f"{_path(person)}/withdraw"
    return Call("POST", path, writes=True, rejections=_ERASURE, timeout_s=timeout_s)


def merge(
    person: SupportsIndex, sources: Iterable[SupportsIndex], timeout_s: float | None
) -> Call[answers.IdentityAnswer]:
    return Call(
        "POST",
        f"{_path(person)}/merge",
        json=_json({"from": [_id(source) for source in sources]}),
        writes=True,
        rejections=_NOTHING_WRITTEN,
        timeout_s=timeout_s,
    )


def photos(person: SupportsIndex, timeout_s: float | None) -> Call[answers.PhotosAnswer]:
    return Call("GET", f"{_path(person)}/photos", timeout_s=timeout_s)


def move(
    person: SupportsIndex,
    photos: Iterable[str],
    to: SupportsIndex,
    timeout_s: float | None,
) -> Call[answers.IdentityAnswer]:
    return Call(
        "POST",
        f"{_path(person)}/move",
        json=_json({"photos": list(photos), "to": _id(to)}),
        writes=True,
        rejections=_NOTHING_WRITTEN,
        timeout_s=timeout_s,
    )


def distinct(
    person: SupportsIndex,
    others: Iterable[SupportsIndex],
    threshold: float | None,
    timeout_s: float | None,
) -> Call[answers.IdentityAnswer]:
    body = {"from": [_id(other) for other in others], **_given(threshold=threshold)}
    return Call(
        "POST",
        f"{_path(person)}/distinct",
        json=_json(body),
        writes=True,
        rejections=_NOTHING_WRITTEN,
        timeout_s=timeout_s,
    )


def same(
    person: SupportsIndex, other: SupportsIndex, timeout_s: float | None
) -> Call[answers.IdentityAnswer]:
    return Call(
        "DELETE",
        f"{_path(person)}/distinct/{_id(other)}",
        writes=True,
        rejections=_NOTHING_WRITTEN,
        timeout_s=timeout_s,
    )


def unmerge(
    person: SupportsIndex, sources: Iterable[SupportsIndex], timeout_s: float | None
) -> Call[answers.UndoneAnswer]:
    body = {"from": [_id(source) for source in sources]}
    return _undone(f"{_path(person)}/unmerge", body, timeout_s)


def undo(
    person: SupportsIndex, version: SupportsIndex | None, timeout_s: float | None
) -> Call[answers.UndoneAnswer]:
    body = {} if version is None else {"version": _id(version)}
    return _undone(f"{_path(person)}/undo", body, timeout_s)


def _undone(
    path: str, body: Mapping[str, Any], timeout_s: float | None
) -> Call[answers.UndoneAnswer]:
    return Call(
        "POST",
        path,
        json=_json(body),
        writes=True,
        rejections=_NOTHING_WRITTEN,
        timeout_s=timeout_s,
    )


def add_embeddings(
    person: SupportsIndex,
    embeddings: Rows | Sequence[Sequence[float]],
    model: str,
    replace: bool,
    timeout_s: float | None,
) -> Call[answers.IdentityAnswer]:
    rows = embeddings if isinstance(embeddings, Sequence) else embeddings.tolist()
    body = {"model": model, "embeddings": rows, "mode": "replace" if replace else "append"}
    return Call(
        "POST",
        f"{_path(person)}/embeddings",
        json=_json(body),
        writes=True,
        rejections=_NOTHING_WRITTEN,
        timeout_s=timeout_s,
    )


def ready(timeout_s: float | None) -> Call[answers.Ready]:
    return Call("GET", "/readyz", also=(503,), once=True, shared=True, timeout_s=timeout_s)


def health(timeout_s: float | None) -> Call[answers.Health]:
    return Call("GET", "/healthz", once=True, shared=True, timeout_s=timeout_s)


def _path(person: SupportsIndex) -> str:
    return f"/identities/{_id(person)}"


def _id(person: SupportsIndex) -> int:
    """Raises TypeError: it is no whole number. True would be person 1."""
    if isinstance(person, bool):
        raise TypeError("An id is a whole number, not bool.")
    return operator.index(person)


def _time(time: Time | None) -> str | None:
    """Raises ValueError: a datetime without a time zone, which would be read as another time."""
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise ValueError("The time has no time zone; give one, such as timezone.utc.")
        return time.isoformat()
    if not isinstance(time, str | None):
        raise TypeError(f"A time is a datetime or RFC 3339 text, not {type(time).__name__}.")
    return time


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _json(body: Any) -> bytes:
    """Raises ValueError for numbers that are not finite, TypeError for values that JSON lacks."""
    return json.dumps(body, allow_nan=False).encode()
