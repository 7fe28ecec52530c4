"""Photos that lie on a side or stand upside-down without saying so: their faces, upright.

MTCNN finds hardly any face that lies on its side, and some that stand upside-down, with landmarks
as if they were upright. The embeddings of such faces are alike, whoever they show. So O-Net, the
last of MTCNN's networks, sees each face in its four turns. Where it prefers another one than that
of the photo, and where nothing is surely a face, the photo is searched turned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from serving.vision.detector import Array, Detections, Detector, is_same

# Lying first: hardly anybody holds a camera upside-down.
_TURNS = (1, 3, 2)
# The score of a face that settles how the photo lies.
_SURE = 0.99
# A larger photo is first searched turned at this size. Most photos in which nothing is found show
# nobody, as most of a camera's, and would take four times as long. docs/detection.md has the cost.
_PROBE_SIDE = 320
Turns = NDArray[np.int64]


@dataclass(frozen=True)
class Upright:
    """Faces of a photo.

    Attributes:
        found: each in pixels of the photo after its ``turns``.
        turns: int64 (F,), quarter turns against the clock after which the face is upright, 0 to 3.
    """

    found: Detections
    turns: Turns

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Upright:
        return Upright(self.found.select(keep), self.turns[keep])

    def joined(self, other: Upright) -> Upright:
        turns = np.concatenate([self.turns, other.turns])
        return Upright(self.found.joined(other.found), turns)


def find_upright(pixels: NDArray[np.uint8], detector: Detector, *, turn: bool) -> Upright:
    """Find the faces in ``pixels``, uint8 RGB (H, W, 3), whichever way the photo lies.

    Args:
        turn: also search the photo turned, where that may help.

    Raises:
        Crowded: see `Detector`.
    """
    first = detector.detect(pixels)
    faces = Upright(first, np.zeros(len(first), np.int64))
    if not turn:
        return faces
    best = detector.best_turns(pixels, first.boxes)
    wrong = best > 0
    if (first.scores[~wrong] >= _SURE).any():
        return _corrected(faces, best, pixels, detector)
    # Nothing is surely a face as the photo lies, so it may lie wrongly.
    small = _reduced(pixels)
    for n in _TURNS:
        again = _found_after(n, small, detector)
        if _is_sure(again) and small is not pixels:
            again = _found_after(n, pixels, detector)
        if _is_sure(again):
            return again
    return faces


def _is_sure(faces: Upright) -> bool:
    return bool((faces.found.scores >= _SURE).any())


def _reduced(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if max(pixels.shape[:2]) <= _PROBE_SIDE:
        return pixels
    image = Image.fromarray(pixels)
    return np.asarray(ImageOps.contain(image, (_PROBE_SIDE, _PROBE_SIDE), Image.Resampling.BOX))


def _found_after(turns: int, pixels: NDArray[np.uint8], detector: Detector) -> Upright:
    """Faces that are upright after so many quarter turns of the photo."""
    turned = np.ascontiguousarray(np.rot90(pixels, turns))
    found = detector.detect(turned)
    found = found.select(detector.best_turns(turned, found.boxes) == 0)
    return Upright(found, np.full(len(found), turns))


def _corrected(
    faces: Upright, best: NDArray[np.intp], pixels: NDArray[np.uint8], detector: Detector
) -> Upright:
    """Single faces that stand another way than the photo, as in a page of portraits, turned."""
    size = (pixels.shape[0], pixels.shape[1])
    for n in sorted(set(best[best > 0].tolist())):
        again = _found_after(n, pixels, detector)
        boxes = in_photo(faces.found.boxes, faces.turns, size)
        same = is_same(boxes, in_photo(again.found.boxes, n, size)) & (best == n)[:, None]
        same &= again.found.scores[None] > faces.found.scores[:, None]
        new, old = same.any(axis=0), same.any(axis=1)
        faces = faces.select(~old).joined(again.select(new))
        best = np.concatenate([best[~old], np.zeros(int(new.sum()), np.intp)])
    return faces


def in_photo(boxes: Array, turns: Turns | int, size: tuple[int, int]) -> Array:
    """Boxes (F, 4) of the photo turned, in pixels of the photo as it is.

    Args:
        turns: quarter turns against the clock, one for each box or one for all.
        size: height and width of the photo.
    """
    each = np.broadcast_to(turns, len(boxes))
    corners = points_in_photo(boxes.reshape(-1, 2, 2), each, size)
    # What was left of the other corner, or above it, need not be so any more. Not by the smaller
    # one: a box without an area has to stay one.
    swapped = np.stack([np.isin(each, (1, 2)), np.isin(each, (2, 3))], axis=1)[:, None]
    result: Array = np.where(swapped, corners[:, ::-1], corners).reshape(-1, 4)
    return result


def points_in_photo(points: Array, turns: Turns | int, size: tuple[int, int]) -> Array:
    """The same of points (F, P, 2), x and y."""
    height, width = size
    x, y = points[..., 0], points[..., 1]
    back = np.stack(
        [
            points,
            np.stack([width - y, x], axis=-1),
            np.stack([width - x, height - y], axis=-1),
            np.stack([y, height - x], axis=-1),
        ]
    )
    result: Array = back[np.broadcast_to(turns, len(points)), np.arange(len(points))]
    return result.astype(np.float32)
