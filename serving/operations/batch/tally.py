"""The counts of a job, which grow with each line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.errors import InvalidInput
from serving.operations.outcomes import outcome_of

_DIGITS = 3


@dataclass
class Tally:
    """Counts of the lines from the first one of a job on.

    Attributes:
        photos: lines.
        named, unknown, too_poor, ambiguous, not_live: faces; their sum is ``faces``.
        without_faces: photos with an answer that has no face.
        passed_over: objects below the source that are no photos.
        errors: photos by the type of their error.
        models: ids, in the order in which they answered.
        gallery_versions: the lowest and the highest that was searched; empty before an answer.
        seconds: in which the lines were made, in all runs.
    """

    photos: int = 0
    faces: int = 0
    named: int = 0
    unknown: int = 0
    too_poor: int = 0
    ambiguous: int = 0
    not_live: int = 0
    without_faces: int = 0
    passed_over: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    gallery_versions: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, line: Mapping[str, Any]) -> None:
        """Count a line: an answer of ``/infer``, or an error."""
        self.photos += 1
        if (error := line.get("error")) is not None:
            kind = error["type"]
            self.errors[kind] = self.errors.get(kind, 0) + 1
            return
        faces = line["faces"]
        self.faces += len(faces)
        self.without_faces += not faces
        for face in faces:
            count = outcome_of(face).replace(" ", "_")
            setattr(self, count, getattr(self, count) + 1)
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
    def from_json(cls, text: str) -> Tally:
        """Raises InvalidInput: it is none of `to_json`."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            raise InvalidInput("The counts of a part are damaged.") from None
