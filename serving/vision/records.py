"""Photos and the faces in them: the records that the stages before the gallery exchange."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
class Quality:
    """Quality measures of one face; `serving.vision.quality` makes them.

    Attributes:
        side: the box's shorter side, in pixels of the original photo.
        sharpness, evenness, tones: see the functions of these names.
        turn: the distance of the nose from the middle of the eyes, along the line through the
            eyes, as a multiple of the distance between the eyes; 0 from the front.
        eyes: the distance between the eyes, as a part of the box's height; smaller in profile.
    """

    side: float
    sharpness: float
    evenness: float
    tones: float
    turn: float
    eyes: float


@dataclass(frozen=True)
class Faces:
    """The faces of one photo, largest first.

    Attributes:
        boxes: float32 (F, 4), x1 y1 x2 y2 in pixels of the upright original, inside the photo.
        scores: float32 (F,), the detector's probability that it is a face.
        landmarks: float32 (F, 5, 2), x y of eyes, nose and mouth corners, in the same pixels.
        crops: uint8 RGB (F, 3, S, S), the input of the embedding model; S is 160 for FaceNet.
        quality: of each face.
        turns: int64 (F,), by how many degrees the photo has to be turned clockwise for the face to
            stand upright: 0, 90, 180 or 270. Box and landmarks are in pixels of the photo as it is.
        more: faces of the photo that are left out, the smaller ones; at least so many.
        pixels: of the photo at its original size.
        surroundings: uint8 RGB (F, 3, H, W), crops of `serving.vision.surroundings`; None: nobody
            asked for them.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    crops: NDArray[np.uint8]
    quality: tuple[Quality, ...]
    turns: NDArray[np.int64]
    more: int = 0
    pixels: int = 0
    surroundings: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def found(self) -> int:
        """The number of faces in the photo."""
        return len(self) + self.more

    @property
    def nbytes(self) -> int:
        arrays = (self.boxes, self.scores, self.landmarks, self.crops, self.turns)
        around = 0 if self.surroundings is None else self.surroundings.nbytes
        return sum(a.nbytes for a in arrays) + around + 200 * len(self.quality)

    def some(self, places: Sequence[int]) -> Faces:
        """The faces at these places alone, as if there were no others."""
        at = np.array(places, np.intp)
        return Faces(
            self.boxes[at],
            self.scores[at],
            self.landmarks[at],
            self.crops[at],
            tuple(self.quality[place] for place in places),
            self.turns[at],
            pixels=self.pixels,
            surroundings=None if self.surroundings is None else self.surroundings[at],
        )

    def scored(self, score: float) -> Faces:
        """The faces that the detector gave this score at least; those that are left out are not
        counted, but for smaller ones than all that are here."""
        kept = [n for n, found in enumerate(self.scores.tolist()) if found >= score]
        return dataclasses.replace(self.some(kept), more=self.more)

    def first(self, n: int) -> Faces:
        return Faces(
            self.boxes[:n],
            self.scores[:n],
            self.landmarks[:n],
            self.crops[:n],
            self.quality[:n],
            self.turns[:n],
            more=self.more + max(0, len(self) - n),
            pixels=self.pixels,
            surroundings=None if self.surroundings is None else self.surroundings[:n],
        )
