"""Photos that lie on a side or stand upside-down: the same faces, in the photo as it is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from serving.vision.detector import Detections
from serving.vision.faces import find_faces
from serving.vision.mtcnn.detector import FaceDetector
from serving.vision.records import Photo
from serving.vision.turning import find_upright, in_photo, points_in_photo
from tests.support.images import DATA

Pixels = NDArray[np.uint8]
PEOPLE = ("101/macron_2025.jpg", "102/obama.jpg", "104/collins.jpg")


def photo_of(pixels: Pixels, times: int = 1) -> Photo:
    """A photo that was decoded reduced by so many times."""
    height, width = pixels.shape[:2]
    return Photo(pixels, width * times, height * times)


def person(name: str) -> Pixels:
    with Image.open(DATA / "people" / name) as image:
        return np.asarray(ImageOps.contain(image.convert("RGB"), (500, 500)))


@pytest.mark.parametrize(("name", "turns"), list(zip(PEOPLE, (1, 2, 3), strict=True)))
def test_a_turned_photo_shows_the_same_faces_upright(
    detector: FaceDetector, name: str, turns: int
) -> None:
    pixels = person(name)
    same_as_upright(pixels, turns, detector)


@pytest.mark.parametrize("turns", [1, 2])
def test_so_does_a_group(detector: FaceDetector, group: Pixels, turns: int) -> None:
    same_as_upright(group, turns, detector)


def same_as_upright(pixels: Pixels, turns: int, detector: FaceDetector) -> None:
    upright = find_faces(photo_of(pixels), detector)
    assert set(upright.turns.tolist()) == {0}
    turned = np.ascontiguousarray(np.rot90(pixels, turns))
    faces = find_faces(photo_of(turned, 2), detector)
    # Turned clockwise by as much as it was turned against the clock.
    assert faces.turns.tolist() == [90 * turns] * len(upright)
    assert np.array_equal(faces.crops, upright.crops)
    assert [q.tones for q in faces.quality] == [q.tones for q in upright.quality]
    back = _turned(upright.boxes.reshape(-1, 2, 2), turns, pixels.shape[:2])
    wanted = np.concatenate([back.min(axis=1), back.max(axis=1)], axis=1) * 2
    assert np.allclose(faces.boxes, wanted, atol=1.0)
    marks = _turned(upright.landmarks, turns, pixels.shape[:2]) * 2
    assert np.allclose(faces.landmarks, marks, atol=1.0)


def _turned(points: NDArray[np.float32], turns: int, size: tuple[int, ...]) -> NDArray[np.float32]:
    """Points after quarter turns of the photo against the clock."""
    height, width = size
    for _ in range(turns):
        points = np.stack([points[..., 1], width - points[..., 0]], axis=-1)
        height, width = width, height
    return points


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_points_come_back_to_where_they_were(turns: int) -> None:
    points = np.array([[[3, 5], [70, 20]], [[0, 0], [90, 40]]], np.float32)
    there = _turned(points, turns, (40, 90))
    assert np.array_equal(points_in_photo(there, turns, (40, 90)), points)
    each = np.array([turns, 0])
    mixed = np.stack([there[0], points[1]])
    assert np.array_equal(points_in_photo(mixed, each, (40, 90)), points)


def test_a_box_without_area_is_looked_at_and_stays_one(
    detector: FaceDetector, group: Pixels
) -> None:
    boxes = np.array([[9, 9, 5, 5], [7, 7, 7, 7], [-90, -90, -80, -80]], np.float32)
    assert len(detector.best_turns(group, boxes)) == 3
    assert len(detector.best_turns(group, boxes[:0])) == 0
    for turns in range(4):
        sides = in_photo(boxes, turns, (group.shape[0], group.shape[1])).reshape(-1, 2, 2)
        assert ((sides[:2, 1] - sides[:2, 0]) <= 0).all()


def test_a_photo_that_is_upright_is_searched_once(group: Pixels) -> None:
    class Counting(FaceDetector):
        searches = 0

        def detect(self, pixels: Pixels) -> Detections:
            self.searches += 1
            return super().detect(pixels)

    detector = Counting(threads=1)
    for pixels in (group, *map(person, PEOPLE)):
        detector.searches = 0
        assert len(find_upright(pixels, detector, turn=True).turns)
        assert detector.searches == 1
    find_upright(np.zeros((64, 64, 3), np.uint8), detector, turn=False)
    assert detector.searches == 2
    nothing = find_upright(np.zeros((64, 64, 3), np.uint8), detector, turn=True)
    assert (len(nothing.turns), detector.searches) == (0, 6)


def test_a_large_photo_of_nobody_is_searched_turned_at_a_smaller_size() -> None:
    class Noting(FaceDetector):
        sizes: list[int]

        def detect(self, pixels: Pixels) -> Detections:
            self.sizes.append(max(pixels.shape))
            return super().detect(pixels)

    detector = Noting(threads=1)
    detector.sizes = []
    find_upright(np.zeros((900, 1200, 3), np.uint8), detector, turn=True)
    assert detector.sizes == [1200, 320, 320, 320]
    detector.sizes = []
    lying = np.ascontiguousarray(np.rot90(person(PEOPLE[0])).repeat(2, axis=0).repeat(2, axis=1))
    assert find_upright(lying, detector, turn=True).turns.tolist() == [3]
    assert detector.sizes == [1000, 320, 320, 1000]


def test_one_photo_of_a_page_may_stand_upside_down(detector: FaceDetector) -> None:
    upright, other = person(PEOPLE[1]), np.rot90(person(PEOPLE[0]), 2)
    page = np.full((500, 1000, 3), 128, np.uint8)
    page[: len(upright), : upright.shape[1]] = upright
    page[: len(other), 500 : 500 + other.shape[1]] = other
    faces = find_faces(photo_of(page), detector)
    left = faces.boxes[:, 0] < 500
    assert faces.turns[left].tolist() == [0]
    # Found upside-down it is turned; and otherwise not at all.
    assert set(faces.turns[~left].tolist()) <= {180}
