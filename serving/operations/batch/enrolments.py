"""The job of `faces enroll s3://…`: the people of a prefix are enrolled, a line for each.

A run that follows a killed one does the people of the unfinished part again. By default that does
no harm, since a person's first request replaces what was enrolled. But the service appends a photo
that it has once more, so a run that appends marks each person: `serving.operations.batch.marks`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from serving.errors import NotConfirmed, NoUsableFace, Unavailable
from serving.operations.batch.formats import JSON_LINES, Format, Line, format_named
from serving.operations.batch.job import Job, Place
from serving.operations.batch.marks import Interrupted, Marks
from serving.operations.batch.people import People, people_below, photos_of
from serving.operations.batch.reading import Reader, Refused
from serving.operations.batch.tally import EnrolmentTally
from serving.operations.enrolment import (
    Answer,
    ChangedMeanwhile,
    NoneUsable,
    Photo,
    batches,
    enrol,
)

# Seconds before a person is begun again whose outcome is open, or whom somebody else changes
# meanwhile; as long as a stage takes to restart.
_PAUSES = (2.0, 8.0, 32.0)


class Unconfirmed(Exception):
    """Whether a request was carried out is open.

    Attributes:
        cause: ends the run when that goes on; a sentence.
        refused: what the person gets then; None: it is no fault of one person.
    """

    def __init__(self, cause: Exception, refused: Refused | None) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.refused = refused


@dataclass
class Notes:
    """What becomes of a person's photos.

    Attributes:
        photos: how many there are.
        used: how many are enrolled.
        not_used: the key of each other one, and why.
        conflicts: those of the service, with the keys of the photos.
    """

    photos: int = 0
    used: int = 0
    not_used: list[dict[str, Any]] = field(default_factory=list)
    conflicts: list[dict[str, Any]] = field(default_factory=list)

    def answered(
        self,
        photos: Sequence[Photo],
        reports: Sequence[Mapping[str, Any]],
        conflicts: Sequence[Mapping[str, Any]],
    ) -> None:
        """Note the answer, or the refusal, of a request with these photos."""
        for photo, report in zip(photos, reports, strict=False):
            if not report["used"]:
                self.not_used.append({"photo": photo.name, "reason": report["reason"]})
        for conflict in conflicts:
            of = {name: value for name, value in conflict.items() if name != "images"}
            self.conflicts.append({**of, "photos": [photos[n].name for n in conflict["images"]]})


# Sends photos of the person of this id and name; see `serving.operations.enrolment.Send`. Raises
# NoneUsable, Unconfirmed, or Refused when it is the person's fault; every other error ends the run
# and means that nothing of this request was written.
SendTo = Callable[[int, str | None, Sequence[Photo], bool, Notes], Answer]


@dataclass(frozen=True, kw_only=True)
class EnrolmentJob(Job):
    """See `Job`.

    Attributes:
        names: SHA-256 of the file of names, hex; None: there is none.
        append: add to the photos that are enrolled already.
        force, expires_at, legal_basis: of ``/generate``.
        part_people: lines of one part.
    """

    kind: ClassVar[str] = "enrol"
    names: str | None = None
    append: bool = False
    force: bool = False
    expires_at: str | None = None
    legal_basis: Mapping[str, Any] | None = None
    part_people: int


class Enrolments:
    """The task of such a job; see `serving.operations.batch.run.Task`.

    Args:
        names: by id.
        send: asks the service; called in several threads.
    """

    tally = EnrolmentTally

    def __init__(
        self,
        job: EnrolmentJob,
        source: Place,
        out: Place,
        names: Mapping[int, str],
        send: SendTo,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.job = job
        self.part_lines = job.part_people
        self.format: Format = format_named(JSON_LINES, "person")
        self._append = job.append
        self._source = source
        self._names = names
        self._send = send
        self._reader = Reader(source, job.max_bytes)
        self._marks = Marks(out, sleep)
        self._sleep = sleep

    @cached_property
    def people(self) -> People:
        """Those of the source, listed once a run; raises what `people_below` does."""
        return people_below(self._source)

    def check(self) -> None:
        _ = self.people

    def items(self, after: str) -> Iterator[tuple[int, int | None]]:
        """The people by their ids."""
        for person in sorted(self.people.folders):
            if not after or person > int(after):
                yield 0, person
        yield self.people.passed_over.total, None

    def line(self, item: int) -> Line:
        if not self._append:
            return self._enrolled(item, Notes(), _PAUSES)
        notes = Notes()
        try:
            if (line := self._marks.begin(item)) is not None:
                return line
        except Interrupted as error:
            return self._said(item, notes, error=Refused("interrupted", None, str(error)).body)
        try:
            line = self._enrolled(item, notes, ())
        except Exception:
            if not notes.used:
                with suppress(Unavailable):
                    self._marks.give_back(item)
            raise
        self._marks.end(item, line)
        return line

    def _enrolled(self, person: int, notes: Notes, pauses: Sequence[float]) -> Line:
        """Enrol a person, again after each of the pauses while the outcome is open."""

        def send(photos: Sequence[Photo], append: bool) -> Answer:
            answer = self._send(person, self._names.get(person), photos, append, notes)
            notes.used += sum(bool(report["used"]) for report in answer["images"])
            return answer

        try:
            enrolled = enrol(batches(self._photos(person, notes)), send, append=self._append)
        except (Unconfirmed, ChangedMeanwhile) as error:
            if pauses:
                self._sleep(pauses[0])
                return self._enrolled(person, Notes(), pauses[1:])
            if isinstance(error, ChangedMeanwhile):
                refused = Refused("changed-meanwhile", None, str(error))
            elif self._append:
                refused = Refused(NotConfirmed.type, None, str(error))
            elif error.refused is None:
                raise error.cause from None
            else:
                refused = error.refused
        except NoneUsable as error:
            refused = Refused(NoUsableFace.type, NoUsableFace.status, str(error))
        except Refused as error:
            refused = error
        else:
            if enrolled is not None:
                answer = {name: enrolled.answer[name] for name in ("model", "gallery_version")}
                return self._said(person, notes, **answer)
            refused = Refused("unreadable", None, "None of this person's photos can be read.")
        return self._said(person, notes, error=refused.body)

    def _photos(self, person: int, notes: Notes) -> Iterator[Photo]:
        """The person's photos, each read when it is asked for."""
        for entry in photos_of(self._source, self.people.folders[person]):
            notes.photos += 1
            try:
                data = self._reader.read(entry).data
            except Refused as refused:
                notes.not_used.append({"photo": entry.key, "reason": refused.body["detail"]})
            else:
                yield Photo(entry.key, data, len(data))

    def _said(self, person: int, notes: Notes, **more: Any) -> Line:
        return {
            "person": person,
            "name": self._names.get(person),
            "photos": notes.photos,
            "used": notes.used,
            "not_used": notes.not_used,
            "conflicts": notes.conflicts,
            **more,
        }
