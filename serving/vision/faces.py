"""Detection: a photo -> its faces, each with box, landmarks and the crop that FaceNet takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.settings import DetectSettings
from serving.vision.mtcnn.detector import FaceDetector
from serving.vision.quality import quality_of
from serving.vision.records import CROP_SIZE, Faces, Photo

MARGIN = 14  # pixels of the crop; part of the model's preprocessing


def detector_of(
    settings: DetectSettings,
    threads: int = 0,
    *,
    faces: int | None = None,
    crowd: int | None = None,
) -> FaceDetector:
    """A face detector with these settings; ``threads`` of the networks, 0: one for each core.

    ``faces`` and ``crowd`` as in `FaceDetector`.
    """
    return FaceDetector(
        min_face_size=settings.min_face_size,
        max_side=settings.max_side,
        min_score=settings.min_score,
        second_look=settings.second_look,
        threads=threads,
        faces=faces,
        crowd=crowd,
    )


def find_faces(photo: Photo, detector: FaceDetector, most: int | None = None) -> Faces:
    """Detect and crop. Boxes are clipped to the photo; faces come largest first.

    Args:
        most: crops are cut of this many faces, the largest; None: of all.

    Raises:
        Crowded: see `FaceDetector`.
    """
    height, width = photo.pixels.shape[:2]
    detections = detector.detect(photo.pixels)
    boxes = np.clip(detections.boxes, 0, np.array([width, height, width, height], np.float32))
    sides = boxes[:, 2:] - boxes[:, :2]
    # A box below one pixel has no crop.
    area = np.where((sides >= 1).all(axis=1), sides.prod(axis=1), 0)
    order = np.argsort(-area, kind="stable")
    order = order[area[order] > 0]
    kept = order[:most]
    # Where the search was cut short there are more, and how many nobody knows.
    more = max(len(order) - len(kept), int(detections.cut))
    detections = detections.select(kept)

    image = Image.fromarray(photo.pixels)
    crops = np.empty((len(detections), 3, CROP_SIZE, CROP_SIZE), np.uint8)
    for crop, box in zip(crops, detections.boxes, strict=True):
        crop[:] = crop_face(image, box).transpose(2, 0, 1)

    # Boxes are in pixels of the original, also when the photo was decoded reduced.
    original = detections.moved(photo.width / width)
    limits = np.array([photo.width, photo.height, photo.width, photo.height], np.float32)
    boxes = np.clip(original.boxes, 0, limits)
    return Faces(
        boxes=boxes,
        scores=original.scores,
        landmarks=original.landmarks,
        crops=crops,
        quality=tuple(map(quality_of, boxes, original.landmarks, crops)),
        more=more,
        pixels=photo.width * photo.height,
    )


def crop_face(
    image: Image.Image, box: NDArray[np.float32], margin: int = MARGIN
) -> NDArray[np.uint8]:
    """Cut one face: uint8 RGB (160, 160, 3).

    Args:
        image: the RGB photo.
        box: x1 y1 x2 y2 in its pixels; may reach over the edges.
        margin: pixels of the crop, half of them on each side.

    The geometry is that of ``facenet_pytorch.models.utils.detect_face.extract_face``.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    half_x = margin * (x2 - x1) / (CROP_SIZE - margin) / 2
    half_y = margin * (y2 - y1) / (CROP_SIZE - margin) / 2
    region = (
        int(max(x1 - half_x, 0)),
        int(max(y1 - half_y, 0)),
        int(min(x2 + half_x, image.width)),
        int(min(y2 + half_y, image.height)),
    )
    # Without reducing_gap: the crop must be bit-equal to facenet-pytorch's.
    face = image.crop(region).resize((CROP_SIZE, CROP_SIZE), Image.Resampling.BILINEAR)
    return np.asarray(face)
