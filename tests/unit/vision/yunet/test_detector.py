"""YuNet: what it finds, where, and that it keeps what the other detector promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from serving.vision.detector import Detections
from serving.vision.faces import find_faces
from serving.vision.mtcnn.detector import FaceDetector as Mtcnn
from serving.vision.records import Photo
from serving.vision.yunet.detector import FaceDetector
from serving.vision.yunet.network import Network
from tests.support.images import DATA

Pixels = NDArray[np.uint8]
PEOPLE = ("101/macron_2025.jpg", "102/obama.jpg", "103/sunak.jpg", "104/collins.jpg")


@pytest.fixture(scope="module")
def yunet() -> FaceDetector:
    return FaceDetector(threads=1)


@pytest.fixture(scope="module")
def once() -> FaceDetector:
    return FaceDetector(threads=1, second_look=False)


def person(name: str) -> Pixels:
    with Image.open(DATA / "people" / name) as image:
        return np.asarray(ImageOps.contain(image.convert("RGB"), (500, 500)))


def largest(found: Detections) -> int:
    assert len(found)
    return int((found.boxes[:, 2:] - found.boxes[:, :2]).prod(axis=1).argmax())


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes."""
    corner = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.clip(corner, 0, None).prod())
    both = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod())
    return shared / (both - shared)


@pytest.mark.parametrize("name", PEOPLE)
def test_boxes_and_points_are_where_those_of_mtcnn_are_in_the_same_order(
    yunet: FaceDetector, detector: Mtcnn, name: str
) -> None:
    pixels = person(name)
    ours, theirs = yunet.detect(pixels), detector.detect(pixels)
    a, b = largest(ours), largest(theirs)
    assert overlap(ours.boxes[a], theirs.boxes[b]) > 0.5
    assert ours.scores[a] > 0.99
    eyes = np.linalg.norm(theirs.landmarks[b, 1] - theirs.landmarks[b, 0])
    apart = np.linalg.norm(ours.landmarks[a] - theirs.landmarks[b], axis=1)
    assert (apart < eyes * 0.35).all()


def test_a_group(yunet: FaceDetector, group: Pixels) -> None:
    found = yunet.detect(group)
    assert len(found) >= 3
    assert found.boxes.dtype == found.scores.dtype == found.landmarks.dtype == np.float32
    assert not found.cut


def test_the_same_photo_gives_the_same_answer_also_after_others(
    yunet: FaceDetector, portrait: Pixels, group: Pixels
) -> None:
    first = yunet.detect(portrait)
    yunet.detect(group)
    second = yunet.detect(portrait.copy())
    assert np.array_equal(first.boxes, second.boxes)
    assert np.array_equal(first.scores, second.scores)
    assert np.array_equal(first.landmarks, second.landmarks)


@pytest.mark.parametrize("size", [(1, 1), (8, 2000), (2000, 8), (31, 400), (32, 32), (33, 65)])
def test_small_and_narrow_photos_have_no_face(yunet: FaceDetector, size: tuple[int, int]) -> None:
    for value in (0, 128, 255):
        assert len(yunet.detect(np.full((*size, 3), value, np.uint8))) == 0


def test_noise_has_no_face(yunet: FaceDetector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    found = yunet.detect(noise)
    assert (found.boxes.shape, found.landmarks.shape) == ((0, 4), (0, 5, 2))


def test_a_huge_photo_has_its_boxes_in_its_own_pixels(
    yunet: FaceDetector, portrait: Pixels
) -> None:
    image = Image.fromarray(portrait)
    times = 6000 / max(image.size)
    huge = image.resize((round(image.width * times), round(image.height * times)))
    small, large = yunet.detect(portrait), yunet.detect(np.asarray(huge))
    box = small.boxes[largest(small)] * np.float32(times)
    assert overlap(large.boxes[largest(large)], box) > 0.75


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("cut", [0.0, 0.1, 0.15])
def test_a_face_that_fills_the_photo_is_found(yunet: FaceDetector, name: str, cut: float) -> None:
    pixels = person(name)
    found = yunet.detect(pixels)
    x1, y1, x2, y2 = (float(v) for v in found.boxes[largest(found)])
    dx, dy = (x2 - x1) * cut, (y2 - y1) * cut
    place = (round(x1 + dx), round(y1 + dy), round(x2 - dx), round(y2 - dy))
    tight = Image.fromarray(pixels).crop(place)
    for side in (120, 1200):
        again = yunet.detect(np.asarray(ImageOps.contain(tight, (side, side))))
        assert len(again) == 1
        scale = tight.width / ImageOps.contain(tight, (side, side)).width
        moved = again.moved(scale, place[0], place[1])
        assert overlap(moved.boxes[0], np.array([x1, y1, x2, y2], np.float32)) > 0.5


def test_what_lies_in_the_border_alone_is_no_face(yunet: FaceDetector, portrait: Pixels) -> None:
    found = yunet.detect(portrait)
    middles = found.boxes.reshape(-1, 2, 2).mean(axis=1)
    assert ((middles >= 0) & (middles < portrait.shape[1::-1])).all()


def test_faces_below_the_smallest_size_are_left_out(portrait: Pixels, once: FaceDetector) -> None:
    found = once.detect(portrait)
    high = float(np.ptp(found.boxes[largest(found)].reshape(2, 2), axis=0).max())
    image = Image.fromarray(portrait)
    for side in (32, 20):
        least = FaceDetector(min_face_size=side, threads=1, second_look=False)
        for part, wanted in ((1.3, 1), (0.7, 0)):
            scale = side * part / high
            small = image.resize((round(image.width * scale), round(image.height * scale)))
            assert len(least.detect(np.asarray(small))) == wanted, (side, part)


def test_a_score_below_the_least_is_no_face(portrait: Pixels) -> None:
    for least in (0.5, 0.9, 0.99):
        found = FaceDetector(min_score=least, threads=1).detect(portrait)
        assert (found.scores >= np.float32(least)).all()
    assert len(FaceDetector(min_score=1.0, threads=1).detect(portrait)) == 0


def test_a_wall_of_faces_is_searched_in_bounds(yunet: FaceDetector, portrait: Pixels) -> None:
    box = yunet.detect(portrait).boxes[0]
    tile = Image.fromarray(portrait).crop(tuple(np.rint(box).astype(int).tolist()))
    wall = np.tile(np.asarray(tile.resize((40, 40))), (30, 30, 1))
    found = yunet.detect(wall)
    assert len(found) > 500


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_photo_shows_the_same_face_upright(yunet: FaceDetector, turns: int) -> None:
    for name in PEOPLE:
        pixels = person(name)
        height, width = pixels.shape[:2]
        upright = find_faces(Photo(pixels, width, height), yunet)
        turned = np.ascontiguousarray(np.rot90(pixels, turns))
        faces = find_faces(Photo(turned, turned.shape[1], turned.shape[0]), yunet)
        assert upright.turns.tolist() == [0], name
        assert faces.turns.tolist() == [90 * turns], name
        assert np.array_equal(faces.crops, upright.crops)


def test_turns_of_boxes_without_area(yunet: FaceDetector, group: Pixels) -> None:
    boxes = np.array([[9, 9, 5, 5], [7, 7, 7, 7], [-90, -90, -80, -80]] * 5, np.float32)
    assert yunet.best_turns(group, boxes).tolist() == [0] * 15
    assert len(yunet.best_turns(group, boxes[:0])) == 0


def test_missing_weights_are_named_with_the_way_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m serving\.vision\.yunet"):
        Network(1, tmp_path)
