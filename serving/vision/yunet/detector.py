"""Face detection with YuNet at a bounded size, with a second look for faces that fill the photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.vision.detector import Detections, in_square, inside, reduced
from serving.vision.mtcnn.boxes import square
from serving.vision.mtcnn.suppression import compile_loop, nms
from serving.vision.yunet.decoding import STEP
from serving.vision.yunet.network import Network

# The height of the smallest faces that the network finds, in pixels: photos are reduced until the
# smallest wanted face has it.
_SMALLEST = 20
# The search for large faces: the photo's longest side, and that of the square with the photo in its
# middle, in pixels.
_LARGE_SIDE, _LARGE_SQUARE = 160, 320
# Of it a face has at least this part of the longest side; smaller ones are the first search's.
_LARGE = 0.3
# Two boxes that share more of their union are one face; as in OpenCV's FaceDetectorYN.
_OVERLAP = 0.3
# Cells with the highest scores that are compared with one another, likewise.
_MOST_CELLS = 5000
# Scores of the network, and the scores that are answered for them, with straight lines between.
# So `detect.min_score` means the same for both detectors. Of 91 photos each has a face of 0.89 or
# more; with their faces painted over, one place in all had more than 0.51.
_SCORES = np.array([0.0, 0.7, 0.88, 1.0], np.float32)
_ANSWERED = np.array([0.0, 0.9, 0.99, 1.0], np.float32)
# Pixels of a window in which a face is looked at in its four turns, and of the window how much its
# box takes; windows in one image; and by how much the face has to be likelier in another turn. Of
# 91 upright faces the best other turn was less likely by 0.06 at least.
_WINDOW, _PART, _AT_ONCE, _BETTER = 64, 0.625, 8, 0.02


class FaceDetector:
    """YuNet over one photo at a time; safe to call from one thread at a time.

    Args:
        min_face_size, max_side, min_score, threads: as for MTCNN,
            `serving.vision.mtcnn.detector.FaceDetector`.
        second_look: search again at a small size, with a border: for faces that fill the photo.
    """

    def __init__(
        self,
        min_face_size: int = 20,
        max_side: int = 1440,
        min_score: float = 0.9,
        second_look: bool = True,
        threads: int = 0,
    ) -> None:
        self._network = Network(threads)
        self._min_face_size = min_face_size
        self._max_side = max_side
        self._min_score = min_score
        self._least = float(np.interp(min_score, _ANSWERED, _SCORES))
        self._second_look = second_look
        compile_loop()

    def detect(self, pixels: NDArray[np.uint8]) -> Detections:
        """See `serving.vision.detector.Detector`. No photo is `Crowded`: the time depends on its
        size alone."""
        image = Image.fromarray(pixels)
        found, cut = self._search(image)
        if self._second_look:
            found = found.joined(self._large_faces(image))
            found = found.select(nms(found.boxes, found.scores, _OVERLAP))
        least = self._min_face_size * max(1.0, max(image.size) / self._max_side)
        found = found.select(_longer_sides(found) >= least)
        scores = np.interp(found.scores, _SCORES, _ANSWERED).astype(np.float32)
        # Rounding must not drop what the network's own score let through.
        scores = np.maximum(scores, np.float32(self._min_score))
        return Detections(found.boxes, scores, found.landmarks, cut)

    def best_turns(self, pixels: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.intp]:
        """See `serving.vision.detector.Detector`."""
        image = Image.fromarray(pixels)
        chances = np.zeros((len(boxes), 4), np.float32)
        for start in range(0, len(boxes), _AT_ONCE):
            some = boxes[start : start + _AT_ONCE]
            chances[start : start + len(some)] = self._chances(image, some)
        best: NDArray[np.intp] = chances.argmax(axis=1)
        better = chances.max(axis=1) - chances[:, 0] > _BETTER
        return np.where(better, best, 0)

    def _chances(self, image: Image.Image, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores (F, 4) of faces in their four turns, each in a window of one image."""
        windows = np.zeros((len(boxes), _WINDOW, 4, _WINDOW, 3), np.uint8)
        for views, box in zip(windows, square(boxes), strict=True):
            middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 / _PART
            x1, y1, x2, y2 = np.rint(np.concatenate([middle - half, middle + half])).tolist()
            # A box may have no area.
            face = image.crop((x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)))
            face = face.resize((_WINDOW, _WINDOW), Image.Resampling.BILINEAR)
            for turn in range(4):
                views[:, turn] = np.rot90(np.asarray(face), turn)
        found = self._network(windows.reshape(len(boxes) * _WINDOW, 4 * _WINDOW, 3), 0.05)
        middles = found.boxes.reshape(-1, 2, 2).mean(axis=1) // _WINDOW
        columns, rows = np.clip(middles, 0, [[3, len(boxes) - 1]]).astype(np.intp).T
        chances = np.zeros((len(boxes), 4), np.float32)
        np.maximum.at(chances, (rows, columns), found.scores)
        return chances

    def _search(self, image: Image.Image) -> tuple[Detections, bool]:
        """The faces; and whether some were left out, unseen."""
        image, scale = reduced(image, self._max_side)
        smaller = max(1, round(max(image.size) * min(1, _SMALLEST / self._min_face_size)))
        image, again = reduced(image, smaller)
        height, width = (-(-side // STEP) * STEP for side in (image.height, image.width))
        canvas = np.zeros((height, width, 3), np.uint8)
        canvas[: image.height, : image.width] = np.asarray(image)
        found = self._network(canvas, self._least)
        cut = len(found) > _MOST_CELLS
        return _apart(found).moved(scale * again), cut

    def _large_faces(self, image: Image.Image) -> Detections:
        square, back = in_square(image, _LARGE_SIDE, _LARGE_SQUARE, grey=0)
        faces = _apart(self._network(square, self._least)).moved(*back)
        return inside(faces.select(_longer_sides(faces) >= _LARGE * max(image.size)), image.size)


def _longer_sides(faces: Detections) -> NDArray[np.float32]:
    sides: NDArray[np.float32] = (faces.boxes[:, 2:] - faces.boxes[:, :2]).max(axis=1)
    return sides


def _apart(cells: Detections) -> Detections:
    """Each face once."""
    best = cells.select(np.argsort(-cells.scores, kind="stable")[:_MOST_CELLS])
    return best.select(nms(best.boxes, best.scores, _OVERLAP))
