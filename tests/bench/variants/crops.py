"""Ways to cut a face out of a photo, beside the service's own `serving.vision.faces.crop_face`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.vision.faces import MARGIN, crop_face
from serving.vision.mtcnn.detector import FaceDetector
from serving.vision.records import CROP_SIZE, Photo

Points = NDArray[np.float64]
Crop = NDArray[np.uint8]  # RGB (160, 160, 3)

# Eyes, nose, corners of the mouth of a face seen from the front, in units of the distance of the
# eyes: the origin is the middle between eyes and mouth.
FRONTAL: Points = np.array(
    [(-0.5, -0.575), (0.5, -0.575), (0.0, 0.0), (-0.415, 0.575), (0.415, 0.575)]
)


@dataclass(frozen=True)
class Face:
    """The largest face of a photo.

    Attributes:
        image: the RGB photo.
        box: float32 (4,), x1 y1 x2 y2 in its pixels; may reach over the edges.
        landmarks: float32 (5, 2), x y of eyes, nose and corners of the mouth.
        score: MTCNN's probability that it is a face.
    """

    image: Image.Image
    box: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    score: float


Cut = Callable[[Face], Crop]


def largest_face(photo: Photo, detector: FaceDetector) -> Face | None:
    """The face that the service would use; None: no face."""
    height, width = photo.pixels.shape[:2]
    found = detector.detect(photo.pixels)
    sides = np.diff(
        np.clip(found.boxes, 0, [width, height, width, height]).reshape(-1, 2, 2), axis=1
    )
    areas = np.where((sides >= 1).all(axis=2), sides.prod(axis=2), 0)[:, 0]
    if not areas.any():
        return None
    best = int(areas.argmax())
    return Face(
        Image.fromarray(photo.pixels),
        found.boxes[best],
        found.landmarks[best],
        float(found.scores[best]),
    )


def as_served(face: Face) -> Crop:
    return crop_face(face.image, face.box)


def clipped(margin: int) -> Cut:
    """The service's crop with another margin."""
    return lambda face: crop_face(face.image, face.box, margin)


def boxed(margin: int, shape: str = "stretched", rotated: bool = False) -> Cut:
    """The box with a margin; past an edge of the photo its last pixels are repeated.

    Args:
        margin: in pixels of the crop.
        shape: ``stretched`` to a square, or made a ``square`` on its longer side, or a square
            of the ``same area``.
        rotated: about the middle of the box, until the eyes are level.
    """

    def cut(face: Face) -> Crop:
        x1, y1, x2, y2 = face.box.astype(np.float64)
        middle, sides = np.array([x1 + x2, y1 + y2]) / 2, np.array([x2 - x1, y2 - y1])
        if shape == "square":
            sides[:] = sides.max()
        elif shape == "same area":
            sides[:] = np.sqrt(sides.prod())
        scale = np.diag((CROP_SIZE - margin) / sides)
        turn = level(face.landmarks) if rotated else np.eye(2)
        return warp(face.image, _about(scale @ turn, middle))

    return cut


def aligned(eyes: float, stretch: float = 1.0) -> Cut:
    """The similarity that brings the landmarks nearest to `FRONTAL` in the middle of the crop.

    Args:
        eyes: pixels from eye to eye.
        stretch: factor by which the crop is wider, as stretched boxes are.
    """
    target = FRONTAL * eyes / np.sqrt(stretch)

    def cut(face: Face) -> Crop:
        matrix = similarity(face.landmarks.astype(np.float64), target)
        matrix = np.diag([np.sqrt(stretch), 1 / np.sqrt(stretch)]) @ matrix
        matrix[:, 2] += CROP_SIZE / 2
        return warp(face.image, matrix)

    return cut


def mirrored(cut: Cut) -> Cut:
    return lambda face: cut(face)[:, ::-1]


def reduced(cut: Cut, pixels: int) -> Cut:
    """The photo as from a camera further away, with a face of this height in pixels."""

    def worse(face: Face) -> Crop:
        side = round(pixels * CROP_SIZE / (CROP_SIZE - MARGIN))
        small = Image.fromarray(cut(face)).resize((side, side), Image.Resampling.BILINEAR)
        return np.asarray(small.resize((CROP_SIZE, CROP_SIZE), Image.Resampling.BILINEAR))

    return worse


def level(landmarks: NDArray[np.float32]) -> Points:
    """The rotation (2, 2) that makes the eyes level."""
    x, y = (landmarks[1] - landmarks[0]).astype(np.float64)
    length = max(float(np.hypot(x, y)), 1e-9)
    return np.array([[x, y], [-y, x]]) / length


def similarity(source: Points, target: Points) -> Points:
    """Rotation, scale and shift (2, 3) of ``source`` (K, 2) with the least squares to ``target``.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    PAMI 13, 1991.
    """
    from_, to = source.mean(axis=0), target.mean(axis=0)
    a, b = source - from_, target - to
    u, values, vt = np.linalg.svd(b.T @ a)
    signs = np.array([1.0, np.sign(np.linalg.det(u @ vt))])  # never a reflection
    matrix = (u * signs) @ vt * (values @ signs) / (a**2).sum()
    return np.column_stack([matrix, to - matrix @ from_])


def warp(image: Image.Image, matrix: Points) -> Crop:
    """The crop that ``matrix`` (2, 3) makes of the photo; its edges are repeated outwards."""
    inverse = np.linalg.inv(matrix[:, :2])
    corners = (
        np.array([(x, y) for x in (0, CROP_SIZE) for y in (0, CROP_SIZE)]) - matrix[:, 2]
    ) @ inverse.T
    low = np.floor(corners.min(axis=0)).astype(int) - 1
    high = np.ceil(corners.max(axis=0)).astype(int) + 1
    size = np.array(image.size)
    inside_low, inside_high = np.clip(low, 0, size - 1), np.clip(high, 1, size)
    part = np.asarray(image.crop((*inside_low.tolist(), *inside_high.tolist())))
    before, after = np.maximum(inside_low - low, 0), np.maximum(high - inside_high, 0)
    part = np.pad(part, ((before[1], after[1]), (before[0], after[0]), (0, 0)), mode="edge")
    # A large face is turned at its own size and reduced afterwards, to avoid aliasing.
    fine = max(1.0, float(np.sqrt(abs(np.linalg.det(inverse)))))
    side = round(CROP_SIZE * fine)
    step = inverse * CROP_SIZE / side
    start = -inverse @ matrix[:, 2] - low
    data = (*step[0], start[0], *step[1], start[1])
    turned = Image.fromarray(part).transform(
        (side, side), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR
    )
    return np.asarray(turned.resize((CROP_SIZE, CROP_SIZE), Image.Resampling.BILINEAR))


def _about(matrix: Points, middle: Points) -> Points:
    """``matrix`` (2, 2) with the shift that brings ``middle`` to the middle of the crop."""
    return np.column_stack([matrix, CROP_SIZE / 2 - matrix @ middle])
