"""Detection: a photo -> its faces, each with box, landmarks and the crop that its model takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.settings import DetectSettings
from serving.vision.align import Alignment, align_face
from serving.vision.detector import Detections, Detector
from serving.vision.quality import quality_of
from serving.vision.records import CROP_SIZE, Faces, Photo
from serving.vision.surroundings import Surroundings, cut
from serving.vision.turning import Turns, find_upright, in_photo, points_in_photo

MARGIN = 14  # pixels of the crop; part of FaceNet's preprocessing


def detector_of(
    settings: DetectSettings,
    threads: int = 0,
    *,
    faces: int | None = None,
    crowd: int | None = None,
) -> Detector:
    """A face detector with these settings; ``threads`` of the networks, 0: one for each core.

    ``faces`` and ``crowd`` as in `serving.vision.mtcnn.detector.FaceDetector`; the time of YuNet
    does not depend on the number of faces.
    """
    # Each is imported here, so that a replica loads only the one that it uses.
    if settings.model == "yunet":
        from serving.vision.yunet.detector import FaceDetector as YuNet

        return YuNet(
            min_face_size=settings.min_face_size,
            max_side=settings.max_side,
            min_score=settings.min_score,
            second_look=settings.second_look,
            threads=threads,
        )
    from serving.vision.mtcnn.detector import FaceDetector as Mtcnn

    return Mtcnn(
        min_face_size=settings.min_face_size,
        max_side=settings.max_side,
        min_score=settings.min_score,
        second_look=settings.second_look,
        threads=threads,
        faces=faces,
        crowd=crowd,
    )


def find_faces(
    photo: Photo,
    detector: Detector,
    most: int | None = None,
    *,
    turned: bool = True,
    alignment: Alignment | None = None,
    surroundings: Surroundings | None = None,
) -> Faces:
    """Detect and crop. Boxes are clipped to the photo; faces come largest first.

    Args:
        most: crops are cut of this many faces, the largest; None: of all.
        turned: also find faces that lie or stand upside-down, and crop them upright.
        alignment: of the crops; None: FaceNet's, which are cut along the box.
        surroundings: a second crop of each face, of this kind; None: there is none.

    Raises:
        Crowded: see `Detector`.
    """
    size = photo.pixels.shape[0], photo.pixels.shape[1]
    upright = find_upright(photo.pixels, detector, turn=turned)
    limits = np.array([size[1], size[0], size[1], size[0]], np.float32)
    boxes = np.clip(in_photo(upright.found.boxes, upright.turns, size), 0, limits)
    sides = boxes[:, 2:] - boxes[:, :2]
    # A box below one pixel has no crop.
    area = np.where((sides >= 1).all(axis=1), sides.prod(axis=1), 0)
    order = np.argsort(-area, kind="stable")
    order = order[area[order] > 0]
    kept = order[:most]
    # Where the search was cut short there are more, and how many nobody knows.
    more = max(len(order) - len(kept), int(upright.found.cut))
    upright, boxes = upright.select(kept), boxes[kept]

    views = {n: Image.fromarray(np.rot90(photo.pixels, n)) for n in set(upright.turns.tolist())}
    turns = upright.turns.tolist()
    along_box = np.empty((len(kept), 3, CROP_SIZE, CROP_SIZE), np.uint8)
    for crop, box, n in zip(along_box, upright.found.boxes, turns, strict=True):
        crop[:] = crop_face(views[n], box).transpose(2, 0, 1)
    crops = along_box
    if alignment is not None:
        crops = np.empty((len(kept), 3, alignment.size, alignment.size), np.uint8)
        for crop, points, n in zip(crops, upright.found.landmarks, turns, strict=True):
            crop[:] = align_face(views[n], points, alignment).transpose(2, 0, 1)
    around = None
    if surroundings is not None:
        around = np.empty((len(kept), 3, surroundings.height, surroundings.width), np.uint8)
        for crop, box, n in zip(around, upright.found.boxes, turns, strict=True):
            edges = np.array((*views[n].size, *views[n].size), np.float32)
            crop[:] = cut(views[n], np.clip(box, 0, edges), surroundings).transpose(2, 0, 1)

    # Boxes are in pixels of the original, also when the photo was decoded reduced.
    scale = np.float32(photo.width / size[1])
    limits = np.array([photo.width, photo.height, photo.width, photo.height], np.float32)
    found = upright.found.moved(photo.width / size[1])
    shown = _clipped(found, upright.turns, photo)
    return Faces(
        boxes=np.clip(boxes * scale, 0, limits),
        scores=found.scores,
        landmarks=points_in_photo(upright.found.landmarks, upright.turns, size) * scale,
        crops=crops,
        # Of the same crop for all models, so that the limits mean the same.
        quality=tuple(map(quality_of, shown, found.landmarks, along_box)),
        turns=-upright.turns % 4 * 90,
        more=more,
        pixels=photo.width * photo.height,
        surroundings=around,
    )


def _clipped(found: Detections, turns: Turns, photo: Photo) -> NDArray[np.float32]:
    """Boxes of the photo turned, clipped to it."""
    lying = (turns % 2 == 1)[:, None]
    limits = np.where(lying, (photo.height, photo.width) * 2, (photo.width, photo.height) * 2)
    boxes: NDArray[np.float32] = np.clip(found.boxes, 0, limits).astype(np.float32)
    return boxes


def crop_face(
    image: Image.Image, box: NDArray[np.float32], margin: int = MARGIN
) -> NDArray[np.uint8]:
    """Cut one face along its box, for FaceNet: uint8 RGB (160, 160, 3).

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
