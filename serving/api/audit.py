"""The audit: a record for each change of a gallery, each refusal for want of a key or a right, and,
by a setting, each look-up (identification and verification); by the logger `faces.audit` and, by a
setting, in objects of the bucket (`serving.trail`).

A record has the name of the caller's key, the collection and its version, the ids, and those who
verify the answer. No picture, embedding, name or metadata.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fastapi import Request

from serving.api.context import Context
from serving.api.problems import request_id_of
from serving.errors import (
    BadRequest,
    CommitConflict,
    NotConfirmed,
    Overloaded,
    ServingError,
    TimedOut,
    Unavailable,
)
from serving.gallery.erasure import Erasure, Left
from serving.matching.records import Candidate
from serving.pipeline.reports import Identified
from serving.trail.inputs import hash_of
from serving.trail.places import time_of

ANONYMOUS = "anonymous"
NO_KEY = "no valid key"
VERIFIERS = "X-Verified-By"
log = logging.getLogger("faces.audit")
# Always INFO: a higher level on the root logger must not drop audit lines.
log.setLevel(logging.INFO)

# The caller has no answer, and the matcher may have gone on: the change may be there or not.
_UNKNOWN = (asyncio.CancelledError, TimedOut, NotConfirmed)
_MOST_VERIFIERS = 8
_PATH_CHARACTERS = 200
# Names of people, and keys, in CompreFace's paths.
_SECRET = re.compile(r"(/recognition/subjects/|/api/v1/static/)(?s:.+)")
# What an erasure calls the audit's objects, beside the galleries.
_TRAIL = "audit"
_VERIFIER = re.compile(r"[A-Za-z0-9._:=+/@-]{1,128}")
# A container's log has lines of 16 KiB, and longer ones in pieces; the objects have all.
_LOGGED_FACES = 50

# Called with the version that holds the change, and with more about it.
Done = Callable[..., None]


async def admit(request: Request) -> None:
    """A dependency of the routes that leave records: notes who verifies the answer.

    Raises:
        BadRequest: `VERIFIERS` is not as it should be.
        Unavailable: see `serving.trail.writer.Trail.require_room`.
    """
    request.state.verifiers = _verifiers(request.headers.getlist(VERIFIERS))
    context: Context = request.app.state.context
    if context.trail is not None and request.method not in ("GET", "HEAD"):
        context.trail.require_room()


def _verifiers(sent: Sequence[str]) -> list[str]:
    """The names in the header. Raises BadRequest."""
    names = [name.strip() for value in sent for name in value.split(",")]
    wrong = [name for name in names if _VERIFIER.fullmatch(name) is None]
    if wrong or len(names) > _MOST_VERIFIERS:
        raise BadRequest(
            f"{VERIFIERS} takes the names of at most {_MOST_VERIFIERS} people with commas between "
            "them, each of at most 128 letters, digits and ._:=+/@-."
        )
    return names


def who(key: str) -> str:
    """The caller as the manifest names it, by the name of the key or ANONYMOUS."""
    return key if key == ANONYMOUS else f"key:{key}"


@contextmanager
def change(
    request: Request,
    action: str,
    ids: Sequence[int],
    begun: Callable[[], bool] = lambda: True,
    *,
    in_parts: bool = False,
) -> Iterator[Done]:
    """Record the change that the ``with`` carries out; call what it yields when the change is done.

    Args:
        action: enrol, add, describe, merge, move, remove, distinct, same, unmerge, undo, delete,
            delete-all or erase.
        ids: the people who change; for a merge the one who remains comes first.
        begun: whether the change itself had begun; a caller may leave before that.
        in_parts: the change takes several commits, so when it fails some may be done.
    """

    def done(gallery_version: int, **more: int | str) -> None:
        _record(request, action, ids, "done", gallery_version, more)

    try:
        yield done
    except (*_UNKNOWN, CommitConflict, Unavailable) as error:
        unknown = isinstance(error, _UNKNOWN) or (in_parts and not isinstance(error, Overloaded))
        if unknown and begun():
            _record(request, action, ids, "unknown", None, {})
        raise


def failed(request: Request, action: str, ids: Sequence[int], gallery: str) -> None:
    """Record that the change was not made in one gallery of several."""
    _record(request, action, ids, "failed", None, {"gallery": gallery})


def refused(request: Request, collection: str, key: str | None) -> None:
    """Record a request that was refused with 401 or 403, before anything was done.

    Args:
        key: the name of a valid key; None: there was none.
    """
    request.state.key, request.state.collection = key or NO_KEY, collection
    more: dict[str, Any] = {
        "method": request.method,
        "path": _SECRET.sub(r"\1{…}", request.url.path),
    }
    _record(request, "request", [], "refused", None, more)


async def identified(
    request: Request, context: Context, photos: Sequence[Identified], images: Sequence[bytes]
) -> None:
    """Record an identification, if the settings want it: for each face of each photo what the
    answer says, strangers among them.

    Args:
        photos: as the caller learns of them.
        images: the image files.
    """
    if not context.audit.identifications:
        return
    hashes = await _hashes(context, images)
    answers = [
        {
            **({} if hashes is None else {"input": hashes[n]}),
            "threshold": round(photo.threshold, 4),
            "faces": _faces(photo),
        }
        for n, photo in enumerate(photos)
    ]
    ids = sorted({person.id for photo in photos for person in photo.named if person is not None})
    version = min(photo.matches.gallery_version for photo in photos)
    more: dict[str, Any] = {
        "faces": sum(len(photo.named) for photo in photos),
        "model": photos[0].card.id,
        "answers": answers,
    }
    _record(request, "identify", ids, "done", int(version), more)


async def compared(
    request: Request,
    context: Context,
    images: Sequence[bytes],
    answer: Mapping[str, Any],
    ids: Sequence[int] = (),
) -> None:
    """Record that two photos were compared, if the settings want it.

    Args:
        ids: the person of whom one photo is enrolled.
        answer: ``same``, ``similarity``, ``threshold`` and ``model``; and, where a face was taken
            for an attack, ``not_live``.
    """
    if not context.audit.identifications:
        return
    hashes = await _hashes(context, images)
    more = dict(answer) if hashes is None else {**answer, "inputs": hashes}
    _record(request, "verify", ids, "done", None, more)


async def forget(context: Context, collection: str, person: int, erased: Erasure) -> Erasure:
    """Remove the id of an erased person from the trail; what failed is left in the erasure."""
    if context.trail is None:
        return erased
    try:
        await asyncio.to_thread(context.trail.forget, collection, person)
    except ServingError as error:
        return dataclasses.replace(erased, left=[*erased.left, Left(_TRAIL, str(error))])
    return erased


async def _hashes(context: Context, images: Sequence[bytes]) -> list[str] | None:
    key = context.input_key
    if key is None:
        return None
    # In a thread: 20 MiB take longer than the event loop may be held.
    return await asyncio.to_thread(lambda: [hash_of(image, key) for image in images])


def _faces(photo: Identified) -> list[dict[str, Any]]:
    return [
        {
            "id": None if named is None else named.id,
            "similarity": None if named is None else round(named.similarity, 4),
            "candidates": _people(candidates),
            **({"ambiguous": _people(photo.ambiguous[n])} if n in photo.ambiguous else {}),
            **({"not_live": True} if n in photo.attacks else {}),
        }
        for n, (named, candidates) in enumerate(
            zip(photo.named, photo.matches.candidates, strict=True)
        )
    ]


def _people(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    return [{"id": c.id, "similarity": round(c.similarity, 4)} for c in candidates]


def _record(
    request: Request,
    action: str,
    ids: Sequence[int],
    outcome: str,
    gallery_version: int | None,
    more: Mapping[str, Any],
) -> None:
    """Write the record to the log, and hand it to the trail."""
    state = request.scope["state"]
    now = time.time()
    record: dict[str, Any] = {
        "action": action,
        "outcome": outcome,
        "key": state["key"],
        "collection": state["collection"],
        "ids": list(ids),
        "gallery_version": gallery_version,
        "request_id": request_id_of(request),
        "began": time_of(state.get("began", now)),
        "ended": time_of(now),
        **more,
    }
    if state.get("verifiers"):
        record["verifiers"] = state["verifiers"]
    nobody = "everybody" if action == "delete-all" else "nobody"
    people = ", ".join(map(str, ids)) or nobody
    version = "" if gallery_version is None else f", version {gallery_version}"
    log.info(
        "%s %s in %s by %s: %s%s",
        action,
        people,
        record["collection"],
        record["key"],
        outcome,
        version,
        extra=_for_a_line(record),
    )
    app = request.scope.get("app")
    trail = None if app is None else app.state.context.trail
    if trail is not None:
        trail.add(_without_ids_in_path(record), was_let_in=outcome != "refused")


def _for_a_line(record: dict[str, Any]) -> dict[str, Any]:
    """The record without the answers, if they are too many for a line."""
    if record.get("faces", 0) <= _LOGGED_FACES:
        return record
    return {key: value for key, value in record.items() if key != "answers"}


def _without_ids_in_path(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a refusal without the ids in its path, which would stay after an erasure, and
    without the end of a path that is made to fill the memory."""
    if "path" not in record:
        return record
    path = re.sub(r"(/identities/|/distinct/)\d+", r"\1{id}", record["path"])
    path = re.sub(r"(/recognition/faces/)[0-9a-fA-F-]+", r"\1{id}", path)
    return {**record, "path": path[:_PATH_CHARACTERS]}
