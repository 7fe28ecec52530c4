"""Marks in the folder of results by which nobody's photos are appended twice.

A person's mark is written before the first request and holds the line afterwards. One without a
line is of a run that was stopped in between: whether its request was carried out is open.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable

from serving.gallery.store import PreconditionFailed
from serving.operations.batch.formats import Line
from serving.operations.batch.job import Place
from serving.operations.batch.once import create

_BEGUN, _GIVEN_BACK = b"", b"null\n"


class Interrupted(Exception):
    """A run was stopped between the person's request and the line, or is at work; a sentence."""


class Marks:
    """The marks of one run in a folder of results. Every method raises Unavailable when the store
    is away."""

    def __init__(self, out: Place, sleep: Callable[[float], None] = time.sleep) -> None:
        self._out = out
        self._sleep = sleep
        self._run = uuid.uuid4().hex

    def begin(self, person: int) -> Line | None:
        """Mark a person who is to be done now. A line: the person is done, and this is it.

        Raises:
            Interrupted: the outcome is open.
        """
        key, metadata = self._key(person), {"run": self._run}
        if create(self._out.store, key, _BEGUN, metadata, self._sleep):
            return None
        there = self._out.store.get(key)
        if there.data not in (_BEGUN, _GIVEN_BACK):
            return dict(json.loads(there.data))
        if there.data == _GIVEN_BACK:
            try:
                self._out.store.put_described(key, _BEGUN, metadata, if_match=there.etag)
                return None
            except PreconditionFailed:
                # Another run has taken it, or this one, and the reply was lost.
                if self._out.store.head(key).metadata.get("run") == self._run:
                    return None
        raise Interrupted(
            "A run was stopped while it appended this person's photos: look which ones are there "
            "before you send them again."
        )

    def end(self, person: int, line: Line) -> None:
        self._out.store.put(self._key(person), json.dumps(line).encode() + b"\n")

    def give_back(self, person: int) -> None:
        """Nothing was written of the person, so a later run may begin again."""
        self._out.store.put(self._key(person), _GIVEN_BACK)

    def _key(self, person: int) -> str:
        return self._out.folder.key(f"people/{person}.json")
