"""What may be enrolled and looked up; on photos that may be and on what becomes of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from serving.settings import DecodeSettings, EnrolmentSettings, LookupSettings
from serving.vision.decode import decode
from serving.vision.faces import find_faces
from serving.vision.mtcnn.detector import FaceDetector
from serving.vision.quality import enrolment_faults, faults, quality_of
from serving.vision.records import Faces, Photo
from tests.support.damages import black_and_white, covered, jpeg, mosaic
from tests.support.images import DATA

PHOTOS = sorted([*(DATA / "2576").glob("*.jpg"), *(DATA / "people").glob("*/*.jpg")])


@pytest.fixture(scope="module")
def good(detector: FaceDetector) -> list[Faces]:
    """The largest face of each photo of the project."""
    found = [find_faces(decode(p.read_bytes(), DecodeSettings()), detector) for p in PHOTOS]
    return [faces.first(1) for faces in found]


def with_crop(face: Faces, crop: NDArray[np.uint8]) -> Faces:
    return changed(face, crops=crop[None])


def changed(face: Faces, **changes: Any) -> Faces:
    """The face with other arrays, measured again."""
    new = dataclasses.replace(face, **changes)
    quality = quality_of(new.boxes[0], new.landmarks[0], new.crops[0])
    return dataclasses.replace(new, quality=(quality,))


def defocused(face: Faces, sigma: float) -> Faces:
    image = Image.fromarray(face.crops[0].transpose(1, 2, 0))
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(sigma)))
    return with_crop(face, blurred.transpose(2, 0, 1))


def shaken(face: Faces, pixels: int, axis: int) -> Faces:
    moved = [np.roll(face.crops[0].astype(np.float32), n, axis) for n in range(pixels)]
    return with_crop(face, np.mean(moved, axis=0).astype(np.uint8))


def gates(faces: list[Faces]) -> list[str | None]:
    """The first gate of enrolment that each of the faces does not pass."""
    found = [enrolment_faults(face.quality[0], EnrolmentSettings()) for face in faces]
    return [f[0].gate if f else None for f in found]


def lookup_gates(faces: list[Faces]) -> list[list[str]]:
    return [[f.gate for f in faults(face.quality[0], LookupSettings())] for face in faces]


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
        assert dark.quality[0].sharpness == pytest.approx(face.quality[0].sharpness, rel=0.25)


def test_a_crop_of_one_colour_is_not_sharp(good: list[Faces]) -> None:
    flat = np.full((3, 160, 160), 200, np.uint8)
    face = with_crop(good[0], flat)
    assert (face.quality[0].sharpness, face.quality[0].tones) == (0, 0)
    assert gates([face]) == ["too-blurred"]
    assert lookup_gates([face]) == [["too-blurred", "pixelated", "too-few-tones"]]


def test_a_small_face_is_told_its_size(good: list[Faces]) -> None:
    box = np.array([[10, 10, 29, 90]], np.float32)
    small = changed(good[0], boxes=box).quality[0]
    (found,) = enrolment_faults(small, EnrolmentSettings(max_turn=9, min_eyes=0))
    assert found.gate == "too-small"
    assert found.sentence == "The face is too small: 19 pixels, and at least 20 are needed."
    assert enrolment_faults(small, EnrolmentSettings(min_side=19, max_turn=9, min_eyes=0)) == ()
    assert faults(small, LookupSettings()) == ()


def looking(face: Faces, nose: float, eyes: float = 0.4) -> Faces:
    """The face with its nose ``nose`` eye distances from the middle of the eyes."""
    (left, top), (right, bottom) = face.boxes.reshape(2, 2)
    apart, middle = eyes * (bottom - top), (left + right) / 2
    points = face.landmarks.copy()
    points[0, :2] = [middle - apart / 2, top + 50], [middle + apart / 2, top + 50]
    points[0, 2] = [middle + nose * apart, top + 80]
    return changed(face, landmarks=points)


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
    before, centre = face.quality[0], face.landmarks[0].mean(axis=0)
    c, s = np.cos(np.pi / 5), np.sin(np.pi / 5)
    tilted = (face.landmarks[0] - centre) @ np.array([[c, s], [-s, c]], np.float32) + centre
    after = changed(face, landmarks=tilted[None]).quality[0]
    assert after.turn == pytest.approx(before.turn, abs=1e-4)


def damaged(image: Image.Image, detector: FaceDetector) -> list[Faces]:
    """The largest face of a photo, if one is still found."""
    faces = find_faces(Photo(np.asarray(image), *image.size), detector, 1)
    return [faces] if len(faces) else []


@pytest.fixture(scope="module")
def portraits() -> list[Image.Image]:
    """Two photos with a face about 200 pixels high in the middle."""
    cut = {"102/obama.jpg": (82, 68, 601, 668), "104/collins.jpg": (125, 10, 325, 240)}
    images = [Image.open(DATA / "people" / p).convert("RGB").crop(b) for p, b in cut.items()]
    sizes = [round(im.width * 360 / im.height) for im in images]
    return [im.resize((w, 360)) for im, w in zip(images, sizes, strict=True)]


def test_photos_as_they_are_pass_at_look_up(good: list[Faces]) -> None:
    assert lookup_gates(good) == [[]] * len(good)
    assert lookup_gates([defocused(f, 2) for f in good]) == [[]] * len(good)


@pytest.mark.parametrize("tile", [8, 10, 16])
@pytest.mark.parametrize("offset", [0, 3])
def test_a_mosaic_is_seen_however_its_tiles_lie(
    portraits: list[Image.Image], detector: FaceDetector, tile: int, offset: int
) -> None:
    found = [f for im in portraits for f in damaged(mosaic(im, tile, offset=offset), detector)]
    assert found
    assert lookup_gates(found) == [["pixelated"]] * len(found)
    assert gates(found) == ["pixelated"] * len(found)


def test_black_and_white_and_few_bytes_are_seen(
    portraits: list[Image.Image], detector: FaceDetector
) -> None:
    two_tones = [f for im in portraits for f in damaged(black_and_white(im, 140), detector)]
    assert two_tones
    assert all("too-few-tones" in found for found in lookup_gates(two_tones))
    squeezed = [f for im in portraits for f in damaged(jpeg(im, 1), detector)]
    assert all("pixelated" in found for found in lookup_gates(squeezed))


def test_a_grating_in_front_of_the_camera_is_no_mosaic(good: list[Faces]) -> None:
    crop = good[0].crops[0].copy()
    crop[:, :, ::12] = 0
    assert "pixelated" not in lookup_gates([with_crop(good[0], crop)])[0]


def test_a_bar_over_the_eyes_is_no_fault_of_the_crop(
    portraits: list[Image.Image], detector: FaceDetector
) -> None:
    bar = [f for im in portraits for f in damaged(covered(im, (0, 0.4, 1, 0.5), "black"), detector)]
    assert lookup_gates(bar) == [[]] * len(bar)
