"""Records that travel between the stages: frozen, of numpy arrays and plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.gallery import Person
from serving.gallery.duplicates import Pair
from serving.model.card import ModelCard


@dataclass(frozen=True)
class Candidate:
    """An enrolled person who looks like the probe; ``similarity`` is the cosine.

    ``rivals``, of the best candidate: who is known not to be this person, see
    `serving.gallery.distinct`; the cosine of each to the probe, and the threshold of the two.
    """

    id: int
    name: str | None
    similarity: float
    rivals: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Matches:
    """Candidates for each probe, best first, from one version of the gallery.

    ``people`` is how many that version holds; among many strangers one is always similar.
    """

    candidates: tuple[tuple[Candidate, ...], ...]
    gallery_version: int
    people: int

    @property
    def nbytes(self) -> int:
        """Approximate bytes in a message; counts the names, since imported names may be long."""
        return sum(
            100 + 4 * len(c.name or "") + 80 * len(c.rivals)
            for probe in self.candidates
            for c in probe
        )


@dataclass(frozen=True)
class Enrolment:
    """One person's new embeddings: float32 (P, D), unit length, one row a photo.

    ``card`` is that of the model that made them. With ``by_name`` it is the person with the
    ``name``, see `serving.matching.subjects`, and the ``id`` does not count. With ``refuse``
    nothing is written when there are conflicts. ``retention`` holds the details of
    `serving.gallery.retention` that are to change. ``default_end`` is an ``expires_at`` for a
    person who has none, neither in ``retention`` nor in the gallery; None: there is no such
    default.
    """

    id: int
    embeddings: NDArray[np.float32]
    card: ModelCard
    name: str | None = None
    append: bool = False
    refuse: bool = False
    retention: Mapping[str, Any] = field(default_factory=dict)
    default_end: str | None = None
    by_name: bool = False


class ConflictKind(str, Enum):
    OTHER_PERSON = "other-person"
    ALREADY_ENROLLED = "already-enrolled"


@dataclass(frozen=True)
class Conflict:
    """A reason against an enrolment; ``photos`` are rows of its embeddings.

    Attributes:
        similarity: cosine to the person's other photos, or to the person enrolled already; the
            highest of several photos.
        confidence: the probability that it is the same person.
        id, name: of the person who is enrolled already.
    """

    kind: ConflictKind
    photos: tuple[int, ...]
    similarity: float
    confidence: float
    id: int | None = None
    name: str | None = None


@dataclass(frozen=True)
class Enrolled:
    """What the gallery holds of a person after an enrolment.

    ``photos`` and ``conflicts`` are None when it is written, but the store could not be read again.
    ``id`` is the person's, and ``ids`` are those of the new photos, see
    `serving.gallery.records.Photo`, in the order of the embeddings.
    """

    name: str | None
    photos: int | None
    gallery_version: int
    conflicts: tuple[Conflict, ...] | None = ()
    expires_at: str | None = None
    id: int | None = None
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """An enrolment that was not written because of its conflicts."""

    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True)
class DuplicatesPage:
    """Likely duplicates, most similar first, of some people compared with all others.

    Attributes:
        found: how many there are; the best of them are in ``pairs``.
        next: the next page begins after this id; None: all people were compared.
        threshold: lowest cosine at which two people are reported.
        people: how many are in the gallery.
    """

    pairs: Sequence[Pair]
    found: int
    next: int | None
    threshold: float
    people: int
    gallery_version: int


@dataclass(frozen=True)
class PeoplePage:
    """Some of the enrolled people, their total number, and the gallery's version."""

    people: Sequence[Person]
    total: int
    gallery_version: int


@dataclass(frozen=True)
class GalleryStatus:
    """The gallery that one matcher holds; ``problem`` is a sentence; None: there is no problem."""

    loaded: bool
    version: int
    people: int
    photos: int
    problem: str | None
