"""Face detection with MTCNN at a bounded size, with a second look at tightly cropped photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.vision.mtcnn.cascade import Cascade
from serving.vision.mtcnn.networks import Networks

# The border around a photo for the second look: MTCNN's networks see (x - 127.5) / 128, so this
# grey is the zero with which their convolutions pad.
_BORDER_GREY = 128


@dataclass(frozen=True)
class Detections:
    """Boxes float32 (F, 4) x1 y1 x2 y2, scores float32 (F,), landmarks float32 (F, 5, 2).

    Attributes:
        cut: not all of the photo's faces were looked for, see `FaceDetector`.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    cut: bool = False

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Detections:
        return Detections(self.boxes[keep], self.scores[keep], self.landmarks[keep], self.cut)

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


class FaceDetector:
    """MTCNN over one photo at a time; safe to call from one thread at a time.

    Args:
        min_face_size: pixels of the smallest face, at the searched size.
        max_side: a larger photo is searched reduced to this longest side, in pixels.
        min_score: detections below this probability are dropped.
        second_look: when no face is found, search again with a border of half the photo's size.
        threads: of the networks; 0: as many as there are cores.
        faces: a photo with many more is searched for large ones only, so that the time is bounded;
            None: for all.
        crowd: more places that may be faces than so many faces have are `Crowded`; None: never.
    """

    def __init__(
        self,
        min_face_size: int = 20,
        max_side: int = 1280,
        min_score: float = 0.9,
        second_look: bool = True,
        threads: int = 0,
        faces: int | None = None,
        crowd: int | None = None,
    ) -> None:
        self._cascade = Cascade(Networks.load(threads), min_face_size, faces=faces, crowd=crowd)
        self._max_side = max_side
        self._min_score = min_score
        self._second_look = second_look

    def detect(self, pixels: NDArray[np.uint8]) -> Detections:
        """Find the faces in ``pixels``, uint8 RGB (H, W, 3); boxes may reach over the edges.

        Raises:
            Crowded: the photo has too many places that may be faces; little time was spent on it.
        """
        detections = self._search(Image.fromarray(pixels))
        if len(detections) or not self._second_look:
            return detections
        # Reduced first, so that the border does not make a large photo four times as large.
        image, scale = self._reduced(Image.fromarray(pixels), self._max_side // 2)
        dx, dy = image.width // 2, image.height // 2
        border = ((dy, dy), (dx, dx), (0, 0))
        padded = np.pad(np.asarray(image), border, constant_values=_BORDER_GREY)
        detections = self._search(Image.fromarray(padded)).moved(scale, -dx * scale, -dy * scale)
        # Faces in the border are dropped.
        centres = detections.boxes.reshape(-1, 2, 2).mean(axis=1)
        inside = ((centres >= 0) & (centres < pixels.shape[1::-1])).all(axis=1)
        return detections.select(inside)

    def _search(self, image: Image.Image) -> Detections:
        image, scale = self._reduced(image, self._max_side)
        detections = Detections(*self._cascade.find(np.asarray(image)))
        return detections.select(detections.scores >= self._min_score).moved(scale)

    @staticmethod
    def _reduced(image: Image.Image, max_side: int) -> tuple[Image.Image, float]:
        """The image with no side over ``max_side``, and the factor from it to the original."""
        scale = max(image.size) / max_side
        if scale <= 1:
            return image, 1.0
        size = (max(1, round(image.width / scale)), max(1, round(image.height / scale)))
        return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0), scale
