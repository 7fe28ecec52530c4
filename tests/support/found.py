"""A face detector that finds what it was told to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving.vision.detector import Detections
from serving.vision.mtcnn.detector import FaceDetector
from serving.vision.records import Photo

Pixels = NDArray[np.uint8]


def photo_of(pixels: Pixels) -> Photo:
    return Photo(pixels, width=pixels.shape[1], height=pixels.shape[0])


class Found(FaceDetector):
    """A detector that finds what it was told to."""

    def __init__(self, *boxes: tuple[float, ...]) -> None:
        count = len(boxes)
        self.found = Detections(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.linspace(0.91, 0.99, count, dtype=np.float32),
            np.arange(count * 10, dtype=np.float32).reshape(count, 5, 2),
        )

    def detect(self, pixels: Pixels) -> Detections:
        return self.found

    def best_turns(self, pixels: Pixels, boxes: NDArray[np.float32]) -> NDArray[np.intp]:
        return np.zeros(len(boxes), np.intp)
