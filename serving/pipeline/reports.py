"""Reports of the pipeline on a request and its photos, and the errors that carry them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from serving.errors import EnrolmentConflict, NoUsableFace
from serving.matching.records import Candidate, Conflict, Enrolled, Matches
from serving.matching.threshold import named
from serving.model.card import ModelCard
from serving.model.liveness import Liveness, is_attack
from serving.vision.quality import Fault
from serving.vision.records import Faces

NO_FACE = "No face was found."
# The gate of a photo that has to show one face alone.
SEVERAL_FACES = "several-faces"
# That of a face that is taken for an attack.
NOT_LIVE = "not-live"
NOT_LIVE_REASON = (
    "The face is taken for a picture or a mask, not for a person in front of a camera."
)


@dataclass(frozen=True)
class Identified:
    """Faces, the candidates of each, and who each is.

    Attributes:
        threshold: cosine from which on the best candidate is named.
        faults: for each face why it is too poor to say who it is; such a face has no candidates.
        ambiguous: by the place of a face, the candidates between whom the model cannot decide, best
            first; faces that are not in it are not ambiguous.
        names_ambiguous: whether such a face is named as the first of them.
        liveness: of each face; None: it was not checked. Nothing: none was. A face that is not live
            has no candidates.
    """

    faces: Faces
    matches: Matches
    card: ModelCard
    threshold: float
    faults: tuple[tuple[Fault, ...], ...]
    ambiguous: Mapping[int, tuple[Candidate, ...]] = field(default_factory=dict)
    names_ambiguous: bool = False
    liveness: tuple[Liveness | None, ...] = ()

    @property
    def poor(self) -> int:
        """The number of live faces that are too poor to say who they are."""
        attacks = self.attacks
        return sum(bool(of_face) and n not in attacks for n, of_face in enumerate(self.faults))

    @cached_property
    def attacks(self) -> frozenset[int]:
        """The places of the faces that are taken for attacks."""
        return frozenset(place for place, verdict in enumerate(self.liveness) if is_attack(verdict))

    def live(self, place: int) -> Liveness | None:
        """What was found of the liveness of one face; None: it was not checked."""
        return self.liveness[place] if self.liveness else None

    @cached_property
    def named(self) -> tuple[Candidate | None, ...]:
        """For each face the candidate that it is, or None: unknown, ambiguous, too poor, or taken
        for an attack."""
        nameless = self.unnamed | self.attacks
        return tuple(
            None if place in nameless else named(candidates, self.threshold)
            for place, candidates in enumerate(self.matches.candidates)
        )

    @property
    def unnamed(self) -> frozenset[int]:
        """The places of the faces that would have a name if they were not ambiguous."""
        # A caller's threshold of -1 always names the nearest.
        if self.names_ambiguous or self.threshold <= -1:
            return frozenset()
        return frozenset(self.ambiguous)


@dataclass(frozen=True)
class PhotoReport:
    """The outcome for one photo of a request.

    Attributes:
        face: only the largest one; None: there is none.
        faces: the number of faces in the photo.
        reason: why the photo was not used; None: it was.
        gate: the quality gate that the face did not pass, see `serving.vision.quality`; or one of
            those above.
        liveness: of the face; None: it was not checked.
    """

    face: Faces | None
    faces: int
    reason: str | None
    gate: str | None = None
    liveness: Liveness | None = None

    @property
    def used(self) -> bool:
        return self.reason is None


@dataclass(frozen=True)
class EnrolmentReport:
    photos: Sequence[PhotoReport]
    enrolled: Enrolled
    card: ModelCard


class PhotosReported:
    """Mixin of the errors that carry a report on each photo of the request.

    These errors are raised and answered in the ingress and never cross Ray, so that, unlike the
    others, their constructors may take more than a sentence.
    """

    photos: Sequence[PhotoReport]
    conflicts: Sequence[Conflict] | None = None


class NoFaceInAny(PhotosReported, NoUsableFace):
    """No photo of an enrolment is usable."""

    def __init__(self, photos: Sequence[PhotoReport]) -> None:
        super().__init__("No photo shows a face that can be used; see images for each.")
        self.photos = photos


class NoFaceToCompare(PhotosReported, NoUsableFace):
    """One of two photos to be compared shows no face, or neither does.

    Args:
        photos: the reports by the names that errors call the photos.
    """

    def __init__(self, photos: Mapping[str, PhotoReport]) -> None:
        without = [name for name, photo in photos.items() if not photo.used]
        super().__init__(f"No face was found in {' and '.join(without)}.")
        self.photos = list(photos.values())


class ConflictsRefused(PhotosReported, EnrolmentConflict):
    """The settings refuse an enrolment with conflicts."""

    def __init__(self, photos: Sequence[PhotoReport], conflicts: Sequence[Conflict]) -> None:
        super().__init__(
            "The photos contradict who is enrolled, or one another; see conflicts. Nothing was "
            "written. Send other photos, or force=true if it is right."
        )
        self.photos = photos
        self.conflicts = conflicts
