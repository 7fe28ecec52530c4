"""Face detection with MTCNN at a bounded size, with a second look for faces that fill the photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.vision.detector import Detections, in_square, inside, is_same, reduced
from serving.vision.mtcnn.boxes import Array, square
from serving.vision.mtcnn.cascade import Cascade
from serving.vision.mtcnn.networks import Networks

# The border around a photo for the second look: MTCNN's networks see (x - 127.5) / 128, so this
# grey is the zero with which their convolutions pad.
_BORDER_GREY = 128
# Of the search for large faces alone, which small ones in front of them would suppress (the cascade
# keeps no face in which another lies): the photo's longest side, in the middle of a square of one
# size, since OpenVINO compiles each new one; and the smallest face, in pixels.
_LARGE_SIDE, _LARGE_SQUARE, _LARGE_FACE = 160, 320, 64
# Pixels of O-Net's windows; and by how much a face has to be likelier in another turn than in that
# of the photo. Of 190 upright faces one was by more, of 61 that were upside-down 5 by less.
_WINDOW, _BETTER = 48, 0.01


class FaceDetector:
    """MTCNN over one photo at a time; safe to call from one thread at a time.

    Args:
        min_face_size: pixels of the smallest face, at the searched size.
        max_side: a larger photo is searched reduced to this longest side, in pixels.
        min_score: detections below this probability are dropped.
        second_look: search again with a border of half the photo's size: for any face when none is
            found, otherwise for those of 0.4 of the photo's longest side, unless one is found.
        threads: of the networks; 0: as many as there are cores.
        faces: a photo with many more is searched for large ones only, so that the time is bounded;
            None: for all.
        crowd: more places that may be faces than so many faces have are `Crowded`; None: never.
    """

    def __init__(
        self,
        min_face_size: int = 20,
        max_side: int = 1440,
        min_score: float = 0.9,
        second_look: bool = True,
        threads: int = 0,
        faces: int | None = None,
        crowd: int | None = None,
    ) -> None:
        networks = Networks.load(threads)
        self._cascade = Cascade(networks, min_face_size, faces=faces, crowd=crowd)
        self._large = Cascade(networks, _LARGE_FACE)
        self._max_side = max_side
        self._min_score = min_score
        self._second_look = second_look

    def detect(self, pixels: NDArray[np.uint8]) -> Detections:
        """Find the faces in ``pixels``, uint8 RGB (H, W, 3); boxes may reach over the edges.

        Raises:
            Crowded: the photo has too many places that may be faces; little time was spent on it.
        """
        image = Image.fromarray(pixels)
        detections = self._search(image)
        if not self._second_look:
            return detections
        if not len(detections):
            return self._with_border(image)
        sides = (detections.boxes[:, 2:] - detections.boxes[:, :2]).max(axis=1)
        if sides.max() >= _LARGE_FACE / _LARGE_SIDE * max(image.size):
            return detections  # two of that size hardly fit into a photo
        large = self._large_faces(image)
        known = is_same(large.boxes, detections.boxes).any(axis=1)
        return detections.joined(large.select(~known))

    def best_turns(self, pixels: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.intp]:
        """For each of ``boxes`` (F, 4) in ``pixels`` after how many quarter turns against the clock
        it is likeliest to be a face: 0 unless another turn is likelier."""
        image = Image.fromarray(pixels)
        windows = np.empty((len(boxes), 4, _WINDOW, _WINDOW, 3), np.float32)
        for views, box in zip(windows, square(boxes), strict=True):
            x1, y1, x2, y2 = (round(v) for v in box.tolist())
            # A box may have no area.
            face = image.crop((x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)))
            face = face.resize((_WINDOW, _WINDOW), Image.Resampling.BILINEAR)
            for turn in range(4):
                views[turn] = np.rot90(np.asarray(face), turn)
        chances = self._cascade.chances(windows.reshape(-1, _WINDOW, _WINDOW, 3)).reshape(-1, 4)
        best: NDArray[np.intp] = chances.argmax(axis=1)
        better = chances.max(axis=1) - chances[:, 0] > _BETTER
        return np.where(better, best, 0)

    def _large_faces(self, image: Image.Image) -> Detections:
        square, back = in_square(image, _LARGE_SIDE, _LARGE_SQUARE, _BORDER_GREY)
        return inside(self._likely(self._large.find(square)).moved(*back), image.size)

    def _with_border(self, image: Image.Image) -> Detections:
        # Reduced first, so that the border does not make a large photo four times as large.
        size = image.size
        image, scale = reduced(image, self._max_side // 2)
        dx, dy = image.width // 2, image.height // 2
        border = ((dy, dy), (dx, dx), (0, 0))
        padded = np.pad(np.asarray(image), border, constant_values=_BORDER_GREY)
        found = self._search(Image.fromarray(padded)).moved(scale, -dx * scale, -dy * scale)
        return inside(found, size)

    def _search(self, image: Image.Image) -> Detections:
        image, scale = reduced(image, self._max_side)
        return self._likely(self._cascade.find(np.asarray(image))).moved(scale)

    def _likely(self, found: tuple[Array, Array, Array, bool]) -> Detections:
        detections = Detections(*found)
        return detections.select(detections.scores >= self._min_score)
