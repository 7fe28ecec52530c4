"""Moving from CompreFace: its subjects and their saved pictures, through its API.

A report, one line of JSON after the other, has what became of each picture. With it an import that
was broken off goes on where it stopped.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from serving.errors import InvalidInput
from serving.operations.compreface_api import CompreFaceApi, Example, Refused

# States of a picture in the report. A picture whose last state is BEGUN may be enrolled or not.
BEGUN, ENROLLED, REFUSED, MISSING = "begun", "enrolled", "refused", "no-picture"
_LISTINGS = 3


@dataclass
class Outcome:
    """What became of an import.

    Attributes:
        faces: saved faces at the source.
        counts: pictures by their state, of this run and of those before.
        refused: lines on pictures that this run did not bring over.
        empty: subjects without any face, which this service cannot keep.
        twice: ids of faces that may be there twice, since the key may not remove one.
    """

    faces: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)


def move(
    source: CompreFaceApi,
    target: CompreFaceApi,
    report: Path,
    *,
    again: bool = False,
    found: Callable[[int], None] = lambda faces: None,
    done: Callable[[], None] = lambda: None,
) -> Outcome:
    """Enrol the saved pictures of the source at the target, subject by subject.

    Args:
        report: is made, or read and gone on with.
        again: also pictures that were refused before.
        found: called with the number of faces; ``done`` after each of them.

    Raises:
        InvalidInput: the report is of another import, or one of the two does not answer as
            CompreFace does.
        Unavailable: one of the two is away; the report has what was done until then.
    """
    try:  # before anything is read
        next(target.examples(), None)
    except InvalidInput as error:
        raise InvalidInput(f"{error} Is its setting compreface on, and the key right?") from None
    subjects = source.subjects()
    examples = _all(source)
    found(len(examples))
    outcome = Outcome(faces=len(examples))
    outcome.empty = sorted(set(subjects) - {example.subject for example in examples})
    with _Report.opened(report, source.url, target.url) as written:
        for example in examples:
            state = written.states.get(example.image)
            if state in (ENROLLED, MISSING) or (state == REFUSED and not again):
                done()
                continue
            _one(source, target, example, written, outcome, in_doubt=state == BEGUN)
            done()
        known = {example.image for example in examples}
        outcome.counts = Counter(s for image, s in written.states.items() if image in known)
    return outcome


def _all(source: CompreFaceApi) -> list[Example]:
    """All saved faces, by subject. A list that changes between its pages is read again."""
    found: dict[str, Example] = {}
    for _ in range(_LISTINGS):
        before = len(found)
        seen = 0
        for example in source.examples():
            found[example.image] = example
            seen += 1
        if len(found) == seen or len(found) == before:
            break
    return sorted(found.values(), key=lambda example: (example.subject, example.image))


def _one(
    source: CompreFaceApi,
    target: CompreFaceApi,
    example: Example,
    written: _Report,
    outcome: Outcome,
    *,
    in_doubt: bool,
) -> None:
    picture = source.picture(example.image)
    if picture is None:
        written.add(example, MISSING)
        outcome.refused.append(f"{example.subject}: {example.image} has no picture.")
        return
    written.add(example, BEGUN)
    try:
        image = target.add(example.subject, picture)
    except Refused as refusal:
        written.add(example, REFUSED, reason=str(refusal), code=refusal.code)
        outcome.refused.append(f"{example.subject}: {example.image}: {refusal}")
        return
    if in_doubt:
        # The same photo has the same id each time.
        there = Counter(e.image for e in target.examples(example.subject))[image]
        if there > written.enrolled_as[image] + 1 and not target.remove(image):
            outcome.twice.append(image)
    written.add(example, ENROLLED, image=image)


class _Report:
    """The report: a file that only grows.

    Attributes:
        states: the last state of each picture.
        enrolled_as: how many pictures became the face with an id of the target.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.states: dict[str, str] = {}
        self.enrolled_as: Counter[str] = Counter()

    @classmethod
    @contextmanager
    def opened(cls, path: Path, source: str, target: str) -> Iterator[_Report]:
        """Raises InvalidInput: it is no report, or one of an import from or to somewhere else."""
        head = {"source": source, "target": target}
        try:
            with path.open("a+", encoding="utf-8") as file:
                file.seek(0)
                lines = file.read().split("\n")
                report = cls(file)
                if lines[-1]:  # cut off in the middle of a line
                    lines.pop()
                    file.write("\n")
                entries = [entry for line in lines if line and (entry := _entry(path, line))]
                if entries and entries[0] != head:
                    raise InvalidInput(f"{path} is the report of another import; name a new one.")
                if not entries:
                    report._write(head)
                for entry in entries[1:]:
                    report._take(entry)
                yield report
        except OSError as error:
            raise InvalidInput(f"{path} cannot be used: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise InvalidInput(f"{path} is no report of an import.") from None

    def add(self, example: Example, state: str, **more: Any) -> None:
        """Write what became of a picture, so that it stays when the machine goes down."""
        entry = {"image_id": example.image, "subject": example.subject, "state": state, **more}
        self._write(entry)
        self._take(entry)

    def _take(self, entry: Mapping[str, Any]) -> None:
        image, state = entry.get("image_id"), entry.get("state")
        if isinstance(image, str) and isinstance(state, str):
            self.states[image] = state
            if state == ENROLLED:
                self.enrolled_as[str(entry.get("image"))] += 1

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _entry(path: Path, line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}  # a line that was cut off
    if not isinstance(entry, dict):
        raise InvalidInput(f"{path} is no report of an import.")
    return entry
