"""Crops with surroundings: the region, and that they belong to their faces."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from serving.settings import LivenessSettings
from serving.vision.faces import find_faces
from serving.vision.mtcnn.detector import FaceDetector
from serving.vision.records import Photo
from serving.vision.surroundings import Surroundings, cut, region_of, surroundings_of
from tests.support.found import Found, photo_of

SIZE = (400, 300)


@pytest.mark.parametrize(
    ("box", "scale", "region", "expected"),
    [
        ((150, 100, 190, 150), 2.0, "square", (120, 75, 220, 175)),
        ((150, 100, 190, 150), 2.0, "box", (130, 75, 210, 175)),
        # Over an edge: moved into the photo, as large as it was.
        ((0, 0, 40, 50), 2.0, "square", (0, 0, 100, 100)),
        ((360, 250, 400, 300), 2.0, "box", (320, 200, 400, 300)),
        # Too large for the photo: reduced, in its proportions.
        ((100, 50, 300, 250), 4.0, "square", (50, 0, 350, 300)),
        ((150, 50, 250, 250), 4.0, "box", (125, 0, 275, 300)),
        ((0, 0, 400, 300), 2.7, "square", (50, 0, 350, 300)),
        # A box without area is no reason to fail.
        ((10, 10, 10, 10), 1.0, "square", (10, 10, 11, 11)),
    ],
)
def test_the_region(
    box: tuple[float, ...], scale: float, region: str, expected: tuple[int, ...]
) -> None:
    settings = LivenessSettings.model_validate({"scale": scale, "region": region})
    wanted = surroundings_of(8, 8, settings)
    found = region_of(np.array(box, np.float32), SIZE, wanted)
    # Halves are rounded to even.
    assert np.abs(np.subtract(found, expected)).max() <= 1
    left, top, right, bottom = found
    assert 0 <= left < right <= SIZE[0]
    assert 0 <= top < bottom <= SIZE[1]


def test_a_crop_has_the_size_of_the_model() -> None:
    image = Image.fromarray(np.full((30, 40, 3), 7, np.uint8))
    crop = cut(image, np.array([10, 10, 20, 20], np.float32), Surroundings(12, 9, 2.0))
    assert crop.shape == (12, 9, 3)
    assert (crop == 7).all()


def test_each_face_has_its_own_and_keeps_it() -> None:
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[:, 100:] = 200
    wanted = Surroundings(8, 8, 1.0)
    detector = Found((10, 10, 40, 40), (140, 20, 190, 70))
    faces = find_faces(photo_of(pixels), detector, surroundings=wanted)
    assert faces.surroundings is not None
    assert faces.surroundings.shape == (2, 3, 8, 8)
    assert [crop.max() for crop in faces.surroundings] == [200, 0]  # the larger face comes first
    for some in (faces.some([1]), faces.scored(0.0).some([1])):
        assert some.surroundings is not None
        assert some.surroundings.max() == 0
    first = faces.first(1)
    assert first.surroundings is not None
    assert len(first.surroundings) == 1


def test_their_bytes_count() -> None:
    photo = photo_of(np.zeros((100, 200, 3), np.uint8))
    without = find_faces(photo, Found((10, 10, 40, 40)))
    larger = find_faces(photo, Found((10, 10, 40, 40)), surroundings=Surroundings(80, 80, 2.0))
    assert without.surroundings is None
    assert larger.nbytes - without.nbytes == 3 * 80 * 80


def test_nobody_has_no_crops() -> None:
    photo = photo_of(np.zeros((50, 60, 3), np.uint8))
    faces = find_faces(photo, Found(), surroundings=Surroundings(8, 6, 2.0))
    assert faces.surroundings is not None
    assert faces.surroundings.shape == (0, 3, 8, 6)


def test_a_face_that_lies_is_cut_upright(
    detector: FaceDetector, portrait: np.typing.NDArray[np.uint8]
) -> None:
    wanted = Surroundings(80, 80, 1.5)
    upright = find_faces(photo_of(portrait), detector, 1, surroundings=wanted)
    lying = Photo(np.rot90(portrait).copy(), portrait.shape[0], portrait.shape[1])
    turned = find_faces(lying, detector, 1, surroundings=wanted)
    assert upright.surroundings is not None
    assert turned.surroundings is not None
    difference = upright.surroundings[0].astype(float) - turned.surroundings[0]
    assert np.abs(difference).mean() < 8
