"""The audit log: one line for each change of a gallery, each refusal for want of a key or a right,
and, by a setting, each identification and verification; by the logger `faces.audit`.

A line has the name of the caller's key, the collection, the ids, and the version that holds the
change. No picture, embedding, name or metadata.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from fastapi import Request

from serving.api.problems import request_id_of
from serving.errors import CommitConflict, NotConfirmed, Overloaded, TimedOut, Unavailable
from serving.pipeline.reports import Identified

ANONYMOUS = "anonymous"
NO_KEY = "no valid key"
log = logging.getLogger("faces.audit")
# Always INFO: a higher level on the root logger must not drop audit lines.
log.setLevel(logging.INFO)

# The caller has no answer, and the matcher may have gone on: the change may be there or not.
_UNKNOWN = (asyncio.CancelledError, TimedOut, NotConfirmed)

# Called with the version that holds the change, and with more about it.
Done = Callable[..., None]


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
    """Log the change that the ``with`` carries out; call what it yields when the change is done.

    Args:
        action: enrol, add, describe, merge, delete, delete-all or erase.
        ids: the people who change; for a merge the one who remains comes first.
        begun: whether the change itself had begun; a caller may leave before that.
        in_parts: the change takes several commits, so when it fails some may be done.
    """

    def done(gallery_version: int, **more: int | str) -> None:
        _line(request, action, ids, "done", gallery_version, more)

    try:
        yield done
    except (*_UNKNOWN, CommitConflict, Unavailable) as error:
        unknown = isinstance(error, _UNKNOWN) or (in_parts and not isinstance(error, Overloaded))
        if unknown and begun():
            _line(request, action, ids, "unknown", None, {})
        raise


def failed(request: Request, action: str, ids: Sequence[int], gallery: str) -> None:
    """Log that the change was not made in one gallery of several."""
    _line(request, action, ids, "failed", None, {"gallery": gallery})


def refused(request: Request, collection: str, key: str | None) -> None:
    """Log a request that was refused with 401 or 403, before anything was done.

    Args:
        key: the name of a valid key; None: there was none.
    """
    request.state.key, request.state.collection = key or NO_KEY, collection
    more: dict[str, int | str] = {
        "method": request.method,
        "path": request.url.path,
    }
    _line(request, "request", [], "refused", None, more)


def identified(request: Request, photos: Sequence[Identified]) -> None:
    """Log who was named in photos, and how many faces there were, strangers among them."""
    ids = sorted({person.id for photo in photos for person in photo.named if person is not None})
    version = min(photo.matches.gallery_version for photo in photos)
    more: dict[str, int | str] = {"faces": sum(len(photo.named) for photo in photos)}
    _line(request, "identify", ids, "done", int(version), more)


def compared(request: Request, *, same: bool) -> None:
    """Log that two photos were compared, and whether the answer was that they show one person."""
    _line(request, "verify", [], "done", None, {"same": same})


def _line(
    request: Request,
    action: str,
    ids: Sequence[int],
    outcome: str,
    gallery_version: int | None,
    more: dict[str, int | str],
) -> None:
    key, collection = request.state.key, request.state.collection
    nobody = "everybody" if action == "delete-all" else "nobody"
    people = ", ".join(map(str, ids)) or nobody
    version = "" if gallery_version is None else f", version {gallery_version}"
    log.info(
        "%s %s in %s by %s: %s%s",
        action,
        people,
        collection,
        key,
        outcome,
        version,
        extra={
            "action": action,
            "outcome": outcome,
            "key": key,
            "collection": collection,
            "ids": list(ids),
            "gallery_version": gallery_version,
            "request_id": request_id_of(request),
            **more,
        },
    )
