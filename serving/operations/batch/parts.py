"""The parts of a job's results: objects that are each written once, one after the other.

Part n + 1 begins with the item that follows the last line of part n, so the parts alone say where
a job goes on. Each is written on the condition that it is not there: of two runs at the same part
one gets there first, and the other ends. The metadata of a part:

    job     `Job.digest`
    run     who wrote it, so that a write whose reply got lost is recognised
    tally   `Tally.to_json`, of all lines up to its last
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from serving.errors import CommitConflict, InvalidInput
from serving.operations.batch.formats import Format, Line
from serving.operations.batch.job import Place
from serving.operations.batch.once import create
from serving.operations.batch.photos import entries
from serving.operations.batch.tally import Tally

T = TypeVar("T", bound=Tally)

_MOST_PARTS = 10**6


@dataclass(frozen=True)
class Part(Generic[T]):
    """A part that is there; ``last`` is what its last line is of, such as the key of a photo."""

    number: int
    last: str
    tally: T


class Parts(Generic[T]):
    """The parts in a folder of results.

    Args:
        job: `Job.digest`.
        format: of the lines.
        tally: the kind of the counts.
        run: unlike that of every other run.
    """

    def __init__(
        self,
        out: Place,
        job: str,
        format: Format,
        tally: type[T],
        run: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = out.store
        self._folder = out.folder
        self._job = job
        self._format = format
        self._tally = tally
        self._run = run
        self._sleep = sleep

    def last(self) -> Part[T] | None:
        """The last part; None: there is none.

        Raises:
            InvalidInput: one is missing before it, or it is of no such job.
        """
        number = -1
        for entry in entries(self._store, self._folder.key("part-")):
            name = entry.key[len(self._folder.prefix) :]
            if found := re.fullmatch(rf"part-(\d{{6}})\.{self._format.name}", name):
                number += 1
                if int(found[1]) != number:
                    raise InvalidInput(
                        f"{self._folder}{self._name(number)} is missing, and later parts are "
                        "there; give another --out."
                    )
        if number < 0:
            return None
        key = self._folder.key(self._name(number))
        metadata = self._store.head(key).metadata
        if metadata.get("job") != self._job:
            raise InvalidInput(f"{self._folder}{self._name(number)} is no part of this job.")
        last = self._format.last(self._store.get(key).data)
        return Part(number, last, self._tally.from_json(metadata["tally"]))

    def write(self, number: int, lines: Sequence[Line], tally: T) -> None:
        """Write a part that is not there yet.

        Raises:
            CommitConflict: another run has written it.
            Unavailable: the store is away; whether it is written is open, but it is whole if so.
        """
        if number >= _MOST_PARTS:
            raise InvalidInput(
                "These are too many parts; give a higher --part-photos or --part-people."
            )
        data = self._format.encode(lines)
        metadata = {"job": self._job, "run": self._run, "tally": tally.to_json()}
        key = self._folder.key(self._name(number))
        if not create(self._store, key, data, metadata, self._sleep):
            raise CommitConflict(
                f"Another run of this job has written {self._folder}{self._name(number)}, so this "
                "one ends. Nothing is lost: start it again when no other runs."
            )

    def _name(self, number: int) -> str:
        return f"part-{number:06d}.{self._format.name}"
