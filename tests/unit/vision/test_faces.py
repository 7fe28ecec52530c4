"""From a photo to faces: order, limits, scales, and crops that are facenet-pytorch's to the bit."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.utils.detect_face import extract_face
from numpy.typing import NDArray
from PIL import Image

from serving.vision.faces import MARGIN, crop_face, find_faces
from serving.vision.mtcnn.detector import FaceDetector
from serving.vision.records import CROP_SIZE, Photo
from tests.support.found import Found, photo_of

Pixels = NDArray[np.uint8]


def test_no_face() -> None:
    faces = find_faces(photo_of(np.zeros((50, 60, 3), np.uint8)), Found())
    assert len(faces) == 0
    assert faces.boxes.shape == (0, 4)
    assert faces.crops.shape == (0, 3, CROP_SIZE, CROP_SIZE)


def test_the_largest_face_comes_first() -> None:
    small, large, middle = (0, 0, 10, 10), (20, 20, 60, 60), (70, 0, 90, 20)
    faces = find_faces(photo_of(np.zeros((100, 100, 3), np.uint8)), Found(small, large, middle))
    assert faces.boxes.tolist() == [list(map(float, b)) for b in (large, middle, small)]
    assert faces.scores.tolist() == [np.float32(v) for v in (0.95, 0.99, 0.91)]
    assert faces.landmarks[:, 0, 0].tolist() == [10, 20, 0]


def test_crops_are_cut_of_the_largest_only_and_the_others_counted() -> None:
    small, large, middle = (0, 0, 10, 10), (20, 20, 60, 60), (70, 0, 90, 20)
    photo = photo_of(np.zeros((100, 100, 3), np.uint8))
    detector = Found(small, large, middle)
    faces = find_faces(photo, detector, 2)
    assert faces.boxes.tolist() == [list(map(float, b)) for b in (large, middle)]
    assert (len(faces.crops), faces.more, faces.found, faces.pixels) == (2, 1, 3, 10_000)
    detector.found = dataclasses.replace(detector.found, cut=True)
    assert find_faces(photo, detector, 2).more == 1
    assert find_faces(photo, detector).more == 1  # there may be


def test_boxes_are_clipped_to_the_photo() -> None:
    faces = find_faces(photo_of(np.zeros((50, 60, 3), np.uint8)), Found((-5, -9, 200, 300)))
    assert faces.boxes.tolist() == [[0, 0, 60, 50]]


@pytest.mark.parametrize(
    "box", [(5, 5, 5, 9), (5, 5, 5.5, 9), (70, 5, 90, 20), (-20, -20, -1, -1), (9, 9, 5, 5)]
)
def test_what_is_left_without_area_is_no_face(box: tuple[float, ...]) -> None:
    assert len(find_faces(photo_of(np.zeros((50, 60, 3), np.uint8)), Found(box))) == 0


def test_boxes_and_landmarks_of_a_reduced_photo_are_those_of_the_original() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    box = (10, 20, 30, 40)
    whole = find_faces(photo_of(pixels), Found(box))
    reduced = find_faces(Photo(pixels, width=240, height=200), Found(box))
    assert reduced.boxes.tolist() == [[40, 80, 120, 160]]
    assert np.array_equal(reduced.landmarks, whole.landmarks * 4)
    assert np.array_equal(reduced.crops, whole.crops)


def test_boxes_of_a_reduced_photo_stay_inside_the_original() -> None:
    # 241 pixels reduced by 4 are 61, and 61 * 4 is more than 241.
    photo = Photo(np.zeros((51, 61, 3), np.uint8), width=241, height=201)
    faces = find_faces(photo, Found((0, 0, 61, 51)))
    assert faces.boxes.tolist() == [[0, 0, 241, 201]]


BOXES = [
    (100.3, 80.7, 220.9, 240.2),
    (100.0, 80.0, 246.0, 226.0),  # a margin of 7 whole pixels on each side
    (-12.5, -3.25, 90.0, 120.0),  # over the left and the upper edge
    (10.0, 10.0, 22.5, 27.5),
    (0.0, 0.0, 10_000.0, 10_000.0),
]


@pytest.mark.parametrize("box", BOXES)
def test_crops_are_those_of_facenet_pytorch(portrait: Pixels, box: tuple[float, ...]) -> None:
    image = Image.fromarray(portrait)
    array = np.array(box, np.float32)
    theirs = extract_face(image, array, image_size=CROP_SIZE, margin=MARGIN)
    ours = crop_face(image, array).transpose(2, 0, 1)
    assert ours.dtype == np.uint8
    assert np.array_equal(ours, theirs.numpy())


def test_a_found_face_is_cropped_as_by_facenet_pytorch(
    detector: FaceDetector, portrait: Pixels
) -> None:
    image = Image.fromarray(portrait)
    found = detector.detect(portrait)
    faces = find_faces(photo_of(portrait), detector)
    theirs = MTCNN(margin=MARGIN, post_process=False).extract(image, found.boxes, None)
    assert faces.crops.shape == (1, 3, CROP_SIZE, CROP_SIZE)
    assert torch.equal(torch.from_numpy(faces.crops[0]).float(), theirs)


def test_a_real_photo_that_was_decoded_reduced(detector: FaceDetector, portrait: Pixels) -> None:
    whole = find_faces(photo_of(portrait), detector)
    height, width = portrait.shape[:2]
    half = Image.fromarray(portrait).resize((width // 2, height // 2), Image.Resampling.BOX)
    reduced = find_faces(Photo(np.asarray(half), width=width, height=height), detector)
    side = whole.boxes[0, 2] - whole.boxes[0, 0]
    assert np.abs(reduced.boxes[0] - whole.boxes[0]).max() < 0.15 * side


def test_faces_in_a_group(detector: FaceDetector, group: Pixels) -> None:
    faces = find_faces(photo_of(group), detector)
    sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
    assert (np.diff(sides.prod(axis=1)) <= 0).all()
    assert faces.crops.flags.c_contiguous
    assert faces.crops.dtype == np.uint8
    assert len(faces.first(2)) == 2


@pytest.mark.parametrize(("used", "other"), [("mtcnn", "yunet"), ("yunet", "mtcnn")])
def test_the_detector_that_is_not_used_is_not_loaded(used: str, other: str) -> None:
    code = (
        "import sys; from serving.vision.faces import detector_of; "
        "from serving.settings import DetectSettings; "
        f"detector_of(DetectSettings(model={used!r}), threads=1); "
        f"assert 'serving.vision.{used}.detector' in sys.modules; "
        f"assert 'serving.vision.{other}.detector' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
