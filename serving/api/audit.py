"""The audit log: one line for each change of a gallery, by the logger `faces.audit`.

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

log = logging.getLogger("faces.audit")
# Always INFO: a higher level on the root logger must not drop audit lines.
log.setLevel(logging.INFO)

# The caller has no answer, and the matcher may have gone on: the change may be there or not.
_UNKNOWN = (asyncio.CancelledError, TimedOut, NotConfirmed)

# Called with the version that holds the change, and with more about it.
Done = Callable[..., None]


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

    def line(outcome: str, gallery_version: int | None, more: dict[str, int | str]) -> None:
        key, collection = request.state.key, request.state.collection
        people = ", ".join(map(str, ids)) or "everybody"
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

    def done(gallery_version: int, **more: int | str) -> None:
        line("done", gallery_version, more)

    try:
        yield done
    except (*_UNKNOWN, CommitConflict, Unavailable) as error:
        unknown = isinstance(error, _UNKNOWN) or (in_parts and not isinstance(error, Overloaded))
        if unknown and begun():
            line("unknown", None, {})
        raise
