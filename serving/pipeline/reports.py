"""What the pipeline reports of a request, and the errors that carry it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serving.errors import (
    EnrolmentConflict,
    NoUsableFace,
)
from serving.matching.records import Conflict, Enrolled, Matches
from serving.model.card import ModelCard
from serving.vision.records import Faces


@dataclass(frozen=True)
class Identified:
    """Faces, and for each of them its candidates."""

    faces: Faces
    matches: Matches
    card: ModelCard


@dataclass(frozen=True)
class PhotoReport:
    """What became of one photo of an enrolment.

    Attributes:
        face: just the largest one; None: there is none.
        faces: how many there are.
        reason: why the photo was not used; None: it was.
        gate: which of the quality gates the face did not pass, see `serving.vision.quality`.
    """

    face: Faces | None
    faces: int
    reason: str | None
    gate: str | None = None

    @property
    def used(self) -> bool:
        return self.reason is None


@dataclass(frozen=True)
class EnrolmentReport:
    photos: Sequence[PhotoReport]
    enrolled: Enrolled
    card: ModelCard


class NoFaceInAny(NoUsableFace):
    """No photo was usable; ``photos`` says why for each."""

    photos: Sequence[PhotoReport] = ()


class ConflictsRefused(EnrolmentConflict):
    """The settings refuse an enrolment with conflicts; ``photos`` and ``conflicts`` tell them."""

    photos: Sequence[PhotoReport] = ()
    conflicts: Sequence[Conflict] = ()
