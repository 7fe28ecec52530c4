"""What may be enrolled; on photos that may be and on what becomes of them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from serving.settings import DecodeSettings, EnrolmentSettings
from serving.vision.decode import decode
from serving.vision.faces import find_faces
from serving.vision.mtcnn.detector import FaceDetector
from serving.vision.quality import Quality, fault, sharpness
from serving.vision.records import Faces
from tests.support.images import DATA

PHOTOS = sorted([*(DATA / "2576").glob("*.jpg"), *(DATA / "people").glob("*/*.jpg")])


@pytest.fixture(scope="module")
def good(detector: FaceDetector) -> list[Faces]:
    """The largest face of each photo of the project."""
    found = [find_faces(decode(p.read_bytes(), DecodeSettings()), detector) for p in PHOTOS]
    return [faces.first(1) for faces in found]


def with_crop(face: Faces, crop: NDArray[np.uint8]) -> Faces:
    return Faces(face.boxes, face.scores, face.landmarks, crop[None])


def defocused(face: Faces, sigma: float) -> Faces:
    image = Image.fromarray(face.crops[0].transpose(1, 2, 0))
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(sigma)))
    return with_crop(face, blurred.transpose(2, 0, 1))


def shaken(face: Faces, pixels: int, axis: int) -> Faces:
    moved = [np.roll(face.crops[0].astype(np.float32), n, axis) for n in range(pixels)]
    return with_crop(face, np.mean(moved, axis=0).astype(np.uint8))


def gates(faces: list[Faces]) -> list[str | None]:
    found = [fault(face, EnrolmentSettings()) for face in faces]
    return [None if f is None else f.gate for f in found]


def test_no_good_photo_is_refused(good: list[Faces]) -> None:
    assert set(gates(good)) == {None}


def test_what_is_a_little_blurred_passes_and_what_is_unrecognisable_does_not(
    good: list[Faces],
) -> None:
    assert set(gates([defocused(f, 1) for f in good])) == {None}
    assert set(gates([defocused(f, 5) for f in good])) == {"too-blurred"}


def test_a_camera_that_moved_is_seen(good: list[Faces]) -> None:
    assert set(gates([shaken(f, 33, 2) for f in good])) == {"too-blurred"}
    assert gates([shaken(f, 33, 1) for f in good]).count("too-blurred") > len(good) / 2


def test_light_and_contrast_do_not_count(good: list[Faces]) -> None:
    for face in good:
        dark = with_crop(face, (face.crops[0] // 3).astype(np.uint8))
        assert sharpness(dark.crops[0]) == pytest.approx(sharpness(face.crops[0]), rel=0.25)


def test_a_crop_of_one_colour_is_not_sharp(good: list[Faces]) -> None:
    flat = np.full((3, 160, 160), 200, np.uint8)
    assert sharpness(flat) == 0
    assert gates([with_crop(good[0], flat)]) == ["too-blurred"]


def test_a_small_face_is_told_its_size(good: list[Faces]) -> None:
    box = np.array([[10, 10, 29, 90]], np.float32)
    small = Faces(box, good[0].scores, good[0].landmarks, good[0].crops)
    found = fault(small, EnrolmentSettings())
    assert found is not None
    assert found.gate == "too-small"
    assert found.sentence == "The face is too small: 19 pixels, and at least 20 are needed."
    assert fault(small, EnrolmentSettings(min_side=19, min_eyes=0)) is None


def looking(face: Faces, nose: float, eyes: float = 0.4) -> Faces:
    """The face with its nose ``nose`` eye distances from the middle of the eyes."""
    (left, top), (right, bottom) = face.boxes.reshape(2, 2)
    apart, middle = eyes * (bottom - top), (left + right) / 2
    points = face.landmarks.copy()
    points[0, :2] = [middle - apart / 2, top + 50], [middle + apart / 2, top + 50]
    points[0, 2] = [middle + nose * apart, top + 80]
    return Faces(face.boxes, face.scores, points, face.crops)


@pytest.mark.parametrize(
    ("nose", "eyes", "gate"),
    [
        (0, 0.4, None),
        (0.4, 0.4, None),
        (-0.4, 0.3, None),
        (0.5, 0.4, "too-turned"),
        (-0.5, 0.4, "too-turned"),
        (0, 0.15, "too-turned"),
        (0, 0, "too-turned"),
    ],
)
def test_a_face_may_be_turned_a_little(
    good: list[Faces], nose: float, eyes: float, gate: str | None
) -> None:
    assert gates([looking(good[0], nose, eyes)]) == [gate]


def test_tilting_the_head_is_no_turning(good: list[Faces]) -> None:
    face = good[0]
    before, centre = Quality.of(face), face.landmarks[0].mean(axis=0)
    c, s = np.cos(np.pi / 5), np.sin(np.pi / 5)
    tilted = (face.landmarks[0] - centre) @ np.array([[c, s], [-s, c]], np.float32) + centre
    after = Quality.of(Faces(face.boxes, face.scores, tilted[None], face.crops))
    assert after.turn == pytest.approx(before.turn, abs=1e-4)
