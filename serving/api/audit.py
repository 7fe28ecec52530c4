"""The audit log: one line for each change of a gallery, by the logger `faces.audit`.

It says who changed what: the name of the caller's key, the collection, the ids, and the version
that holds the change. No picture, embedding, name or metadata.
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
# Whoever wants fewer lines in his logs does not mean these.
log.setLevel(logging.INFO)

# The caller has no answer, and the matcher may have gone on: the change is there or not.
_UNKNOWN = (asyncio.CancelledError, TimedOut, NotConfirmed)

# Is told the version that holds the change, and more about it.
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
    """Carry out a change inside of the ``with``, and tell what it yields when it is done.

    Args:
        action: enrol, add, describe, merge, delete, delete-all or erase.
        ids: whom it is about; of a merge first who remains.
        begun: whether the change itself had begun, for a caller who left before that.
        in_parts: it takes several commits, so when it fails some of them may be done.
    """

    def line(outcome: str, gallery_version: int | None, more: dict[str, int | str]) -> None:
        key, collection = request.state.key, request.state.collection
        whom = ", ".join(map(str, ids)) or "everybody"
        version = "" if gallery_version is None else f", version {gallery_version}"
        log.info(
            "%s %s in %s by %s: %s%s",
            action,
            whom,
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
