"""What the face detectors have in common: their interface, and what they find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]

# Two boxes that share more of their union are one face.
_SAME = 0.3


class Crowded(Exception):
    """A photo takes much longer than others: it has very many places that may be faces."""


@dataclass(frozen=True)
class Detections:
    """Boxes float32 (F, 4) x1 y1 x2 y2, scores float32 (F,), landmarks float32 (F, 5, 2).

    Attributes:
        cut: not all of the photo's faces were looked for, so that the time is bounded.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    cut: bool = False

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Detections:
        return Detections(self.boxes[keep], self.scores[keep], self.landmarks[keep], self.cut)

    def joined(self, other: Detections) -> Detections:
        return Detections(
            np.concatenate([self.boxes, other.boxes]),
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.landmarks, other.landmarks]),
            self.cut or other.cut,
        )

    def moved(self, scale: float, dx: float = 0.0, dy: float = 0.0) -> Detections:
        """The same faces after ``(x, y) -> (x * scale + dx, y * scale + dy)``."""
        offset = np.array([dx, dy], np.float32)
        boxes = self.boxes.reshape(-1, 2, 2) * np.float32(scale) + offset
        return Detections(
            boxes.reshape(-1, 4),
            self.scores,
            self.landmarks * np.float32(scale) + offset,
            self.cut,
        )


NOTHING = Detections(
    np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 5, 2), np.float32)
)


class Detector(Protocol):
    """Finds the faces of one photo at a time; called by one thread at a time."""

    def detect(self, pixels: NDArray[np.uint8]) -> Detections:
        """Find the faces in ``pixels``, uint8 RGB (H, W, 3); boxes may reach over the edges.

        The landmarks are the eye at the left of an upright photo, the other one, the nose, and the
        corners of the mouth, left first.

        Raises:
            Crowded: the photo has too many places that may be faces; little time was spent on it.
        """

    def best_turns(self, pixels: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.intp]:
        """For each of ``boxes`` (F, 4) in ``pixels`` after how many quarter turns against the clock
        it is likeliest to be a face: 0 unless another turn is likelier."""


def reduced(image: Image.Image, max_side: int) -> tuple[Image.Image, float]:
    """The image with no side over ``max_side``, and the factor from it to the original."""
    scale = max(image.size) / max_side
    if scale <= 1:
        return image, 1.0
    size = (max(1, round(image.width / scale)), max(1, round(image.height / scale)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0), scale


def in_square(
    image: Image.Image, longest: int, side: int, grey: int
) -> tuple[NDArray[np.uint8], tuple[float, float, float]]:
    """The image, reduced to ``longest`` pixels, in the middle of a grey square, uint8 (S, S, 3).

    Also with what `Detections.moved` takes what is found in it back to the image.
    """
    image, scale = reduced(image, longest)
    dx, dy = (side - image.width) // 2, (side - image.height) // 2
    square = np.full((side, side, 3), grey, np.uint8)
    square[dy : dy + image.height, dx : dx + image.width] = np.asarray(image)
    return square, (scale, -dx * scale, -dy * scale)


def inside(detections: Detections, size: tuple[int, int]) -> Detections:
    """Those with their middle in the photo, and not in the border around it."""
    centres = detections.boxes.reshape(-1, 2, 2).mean(axis=1)
    return detections.select(((centres >= 0) & (centres < np.array(size))).all(axis=1))


def is_same(a: Array, b: Array) -> NDArray[np.bool_]:
    """Whether boxes (A, 4) and (B, 4) are of one face: bool (A, B)."""
    a, b = a[:, None], b[None]
    shared = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0)
    both = shared.prod(axis=2)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(axis=2) for boxes in (a, b)]
    same: NDArray[np.bool_] = both > _SAME * (areas[0] + areas[1] - both)
    return same
