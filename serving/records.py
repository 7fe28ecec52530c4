"""What travels between the stages: frozen records of numpy arrays and plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.gallery import Person

CROP_SIZE = 160  # pixels; FaceNet's input is (3, 160, 160)


@dataclass(frozen=True)
class Photo:
    """A decoded photo, upright.

    Attributes:
        pixels: uint8 RGB (H, W, 3); smaller than the original where it was decoded reduced.
        width, height: the size of the original after its EXIF rotation, in pixels.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int


@dataclass(frozen=True)
class Faces:
    """The faces of one photo, largest first.

    Attributes:
        boxes: float32 (F, 4), x1 y1 x2 y2 in pixels of the upright original, inside the photo.
        scores: float32 (F,), MTCNN's probability that it is a face.
        landmarks: float32 (F, 5, 2), x y of eyes, nose and mouth corners, in the same pixels.
        crops: uint8 RGB (F, 3, 160, 160), what the embedding model takes.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    crops: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.boxes)

    def first(self, n: int) -> Faces:
        return Faces(self.boxes[:n], self.scores[:n], self.landmarks[:n], self.crops[:n])


@dataclass(frozen=True)
class Candidate:
    """Somebody enrolled who looks like the probe; ``similarity`` is the cosine."""

    id: int
    name: str | None
    similarity: float


@dataclass(frozen=True)
class Matches:
    """For each probe its candidates, best first, out of one version of the gallery.

    ``people`` are in that version; among many strangers one is always similar.
    """

    candidates: tuple[tuple[Candidate, ...], ...]
    gallery_version: int
    people: int


@dataclass(frozen=True)
class Enrolment:
    """One person's new embeddings: float32 (P, D), unit length, one row a photo."""

    id: int
    embeddings: NDArray[np.float32]
    name: str | None = None
    append: bool = False


@dataclass(frozen=True)
class Enrolled:
    """What the gallery holds of a person after an enrolment.

    ``photos`` is None when the write is done but the store could not be read again to count them.
    """

    name: str | None
    photos: int | None
    gallery_version: int


@dataclass(frozen=True)
class PeoplePage:
    """Some of the people enrolled, how many there are in all, and in which version."""

    people: Sequence[Person]
    total: int
    gallery_version: int


@dataclass(frozen=True)
class GalleryStatus:
    """What one matcher holds; ``problem`` is a sentence, None while all is well."""

    loaded: bool
    version: int
    people: int
    photos: int
    problem: str | None
