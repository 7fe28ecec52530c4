"""The counts of a job, which grow with each line."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from serving.errors import InvalidInput
from serving.operations.outcomes import outcome_of

T = TypeVar("T", bound="Tally")

_DIGITS = 3


@dataclass
class Tally(ABC):
    """Counts of the lines from the first one of a job on.

    Attributes:
        photos: of all lines.
        passed_over: objects below the source that are no photos.
        errors: lines by the type of their error.
        models: ids, in the order in which they answered.
        gallery_versions: the lowest and the highest of the answers; empty before one.
        seconds: in which the lines were made, in all runs.
    """

    photos: int = 0
    passed_over: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    gallery_versions: list[int] = field(default_factory=list)
    seconds: float = 0.0

    @property
    @abstractmethod
    def lines(self) -> int: ...

    def add(self, line: Mapping[str, Any]) -> None:
        """Count a line: an answer of the service, or an error."""
        if (error := line.get("error")) is not None:
            kind = error["type"]
            self.errors[kind] = self.errors.get(kind, 0) + 1
            return
        if (model := line.get("model")) is not None and model not in self.models:
            self.models.append(model)
        if (version := line.get("gallery_version")) is not None:
            seen = [*self.gallery_versions, version]
            self.gallery_versions = [min(seen), max(seen)]

    def summary(self, parts: int) -> dict[str, Any]:
        """What ``summary.json`` holds."""
        rate = self.photos / self.seconds if self.seconds else 0.0
        return {
            **dataclasses.asdict(self),
            "seconds": round(self.seconds, _DIGITS),
            "photos_per_second": round(rate, _DIGITS),
            "parts": parts,
        }

    def to_json(self) -> str:
        """On one line, of ASCII: metadata of an object."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls: type[T], text: str) -> T:
        """Raises InvalidInput: it is none of `to_json`."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            raise InvalidInput("The counts of a part are damaged.") from None


@dataclass
class LookUpTally(Tally):
    """Each line is a photo.

    Attributes:
        named, unknown, too_poor, ambiguous, not_live: faces; their sum is ``faces``.
        without_faces: photos with an answer that has no face.
    """

    faces: int = 0
    named: int = 0
    unknown: int = 0
    too_poor: int = 0
    ambiguous: int = 0
    not_live: int = 0
    without_faces: int = 0

    @property
    def lines(self) -> int:
        return self.photos

    def add(self, line: Mapping[str, Any]) -> None:
        super().add(line)
        self.photos += 1
        if line.get("error") is not None:
            return
        faces = line["faces"]
        self.faces += len(faces)
        self.without_faces += not faces
        for face in faces:
            count = outcome_of(face).replace(" ", "_")
            setattr(self, count, getattr(self, count) + 1)


@dataclass
class EnrolmentTally(Tally):
    """Each line is a person.

    Attributes:
        people: lines.
        enrolled: people without an error.
        used: photos that are enrolled.
        conflicts: of all enrolments.
    """

    people: int = 0
    enrolled: int = 0
    used: int = 0
    conflicts: int = 0

    @property
    def lines(self) -> int:
        return self.people

    def add(self, line: Mapping[str, Any]) -> None:
        super().add(line)
        self.people += 1
        self.enrolled += line.get("error") is None
        self.photos += line["photos"]
        self.used += line["used"]
        self.conflicts += len(line["conflicts"])
