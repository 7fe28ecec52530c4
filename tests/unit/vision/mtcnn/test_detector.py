"""MTCNN: what it finds, where, and the photos that facenet-pytorch fails on."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from serving.vision.detector import NOTHING, Crowded, Detections
from serving.vision.mtcnn.detector import FaceDetector
from tests.support.images import DATA

Pixels = NDArray[np.uint8]


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes."""
    corner = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.clip(corner, 0, None).prod())
    both = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod())
    return shared / (both - shared)


def largest(found: Detections) -> NDArray[np.float32]:
    assert len(found)
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    box: NDArray[np.float32] = found.boxes[sides.prod(axis=1).argmax()]
    return box


@pytest.mark.parametrize(
    "size", [(1, 1), (8, 2000), (2000, 8), (11, 11), (12, 12), (19, 21), (20, 20), (31, 400)]
)
def test_small_and_narrow_photos_have_no_face(
    detector: FaceDetector, size: tuple[int, int]
) -> None:
    for value in (0, 128, 255):
        assert len(detector.detect(np.full((*size, 3), value, np.uint8))) == 0


@pytest.mark.parametrize("side", [12, 20, 46, 47, 48, 94, 147])
def test_a_photo_just_as_large_as_the_smallest_face(side: int) -> None:
    blank = np.zeros((side, side, 3), np.uint8)
    assert len(FaceDetector(min_face_size=side, second_look=False).detect(blank)) == 0


def test_no_face_is_an_answer(detector: FaceDetector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    found = detector.detect(noise)
    assert (found.boxes.shape, found.scores.shape, found.landmarks.shape) == (
        (0, 4),
        (0,),
        (0, 5, 2),
    )


def test_a_portrait(detector: FaceDetector, portrait: Pixels) -> None:
    found = detector.detect(portrait)
    assert len(found) == 1
    assert found.boxes.dtype == found.scores.dtype == found.landmarks.dtype == np.float32
    assert found.scores[0] > 0.99
    x1, y1, x2, y2 = found.boxes[0]
    assert ((found.landmarks[0] > (x1, y1)) & (found.landmarks[0] < (x2, y2))).all()
    left_eye, right_eye, nose, *mouth = found.landmarks[0]
    assert left_eye[0] < right_eye[0]
    assert left_eye[1] < nose[1] < mouth[0][1]


def test_a_group(detector: FaceDetector, group: Pixels) -> None:
    assert len(detector.detect(group)) >= 3


def test_the_same_photo_gives_the_same_answer(detector: FaceDetector, portrait: Pixels) -> None:
    first, second = detector.detect(portrait), detector.detect(portrait.copy())
    assert np.array_equal(first.boxes, second.boxes)
    assert np.array_equal(first.scores, second.scores)


def test_a_photo_that_is_searched_reduced_has_its_boxes_in_its_own_pixels(
    detector: FaceDetector, portrait: Pixels
) -> None:
    box = largest(detector.detect(portrait))
    reduced = FaceDetector(max_side=max(portrait.shape) // 2)
    assert overlap(largest(reduced.detect(portrait)), box) > 0.75


def test_a_score_below_the_least_is_no_face(portrait: Pixels) -> None:
    assert len(FaceDetector(min_score=1.0, second_look=False).detect(portrait)) <= 1
    assert len(FaceDetector(min_score=1.1).detect(portrait)) == 0


def test_the_second_look_finds_a_tight_crop(portrait: Pixels) -> None:
    # With other scales MTCNN happens to see this very crop.
    detector = FaceDetector(min_face_size=20, threads=1)
    x1, y1, x2, y2 = largest(detector.detect(portrait))
    # From the brows to the lips: too tight for MTCNN, which wants to see the whole head.
    dx, dy = (x2 - x1) * 0.12, (y2 - y1) * 0.12
    left, top = round(x1 + dx), round(y1 + dy)
    tight = np.ascontiguousarray(portrait[top : round(y2 - dy), left : round(x2 - dx)])
    once = FaceDetector(min_face_size=20, second_look=False, threads=1)
    assert len(once.detect(tight)) == 0
    found = detector.detect(tight)
    assert len(found) == 1
    moved = found.moved(1.0, left, top)
    assert overlap(moved.boxes[0], np.array([x1, y1, x2, y2], np.float32)) > 0.6


def test_the_second_look_tells_only_what_lies_in_the_photo(
    detector: FaceDetector, portrait: Pixels
) -> None:
    flat = np.full_like(portrait, 127)
    assert len(detector.detect(flat)) == 0


def with_portrait(photo: Image.Image, portrait: Image.Image) -> Pixels:
    """The photo with somebody in the background."""
    both = photo.copy()
    both.paste(portrait, (photo.width - portrait.width, 5))
    return np.asarray(both)


@pytest.mark.parametrize("person", range(5))
def test_a_face_that_fills_the_photo_is_found_beside_a_small_one(
    detector: FaceDetector, person: int
) -> None:
    """The cascade alone keeps the small one, which lies in the box of the other."""
    paths = ["2576/photo_01", "people/101/macron_2025", "people/102/obama", "people/103/sunak"]
    photo = Image.open(DATA / f"{[*paths, 'people/104/collins'][person]}.jpg").convert("RGB")
    small = Image.open(DATA / "people/104/collins.jpg").convert("RGB").crop((115, 0, 335, 270))
    small = small.resize((90, 110))
    x1, y1, x2, y2 = largest(detector.detect(np.asarray(photo)))
    wide, high = float(x2 - x1), float(y2 - y1)
    for cut in (-0.05, 0, 0.05, 0.1, 0.15, 0.2, 0.25):
        place = (x1 + wide * cut, y1 + high * cut, x2 - wide * cut, y2 - high * cut)
        closeup = photo.crop(tuple(round(float(edge)) for edge in place))  # type: ignore[arg-type]
        closeup = closeup.resize((600, round(600 * high / wide)))
        found = detector.detect(with_portrait(closeup, small))
        whole = np.array([0, 0, *closeup.size], np.float32)
        inside = np.clip(largest(found), 0, np.tile(whole[2:], 2))
        assert overlap(inside, whole) > 0.5, cut
        assert len(found) <= 2, cut


def test_the_search_for_large_faces_changes_nothing_else(
    detector: FaceDetector, group: Pixels, portrait: Pixels
) -> None:
    once = FaceDetector(second_look=False)
    for photo in (group, portrait):
        found, same = detector.detect(photo), once.detect(photo)
        assert np.array_equal(found.boxes, same.boxes)
        assert np.array_equal(found.landmarks, same.landmarks)


def test_moved_and_select() -> None:
    one = Detections(
        np.array([[1, 2, 3, 4], [10, 20, 30, 40]], np.float32),
        np.array([0.9, 0.95], np.float32),
        np.arange(20, dtype=np.float32).reshape(2, 5, 2),
    )
    moved = one.moved(2.0, 1.0, -1.0)
    assert moved.boxes.tolist() == [[3, 3, 7, 7], [21, 39, 61, 79]]
    assert moved.landmarks[0, 1].tolist() == [5, 5]
    assert moved.scores is one.scores
    assert one.select(np.array([False, True])).scores.tolist() == [np.float32(0.95)]
    assert len(NOTHING.moved(3.0, 1.0, 1.0)) == 0


def mosaic(portrait: Pixels, detector: FaceDetector, columns: int, rows: int, side: int) -> Pixels:
    x1, y1, x2, y2 = largest(detector.detect(portrait)).astype(int)
    tile = Image.fromarray(portrait).crop((x1 - 20, y1 - 20, x2 + 20, y2 + 20))
    return np.tile(np.asarray(tile.resize((side, side))), (rows, columns, 1))


def test_of_a_mosaic_of_faces_the_large_ones_are_looked_for(
    detector: FaceDetector, portrait: Pixels
) -> None:
    small = mosaic(portrait, detector, 16, 4, 48)
    large = mosaic(portrait, detector, 6, 1, 128)
    photo = np.concatenate([small, large])
    every = detector.detect(photo)
    assert (len(every), every.cut) == (70, False)
    few = FaceDetector(faces=6).detect(photo)
    assert few.cut
    assert 6 <= len(few) < 40
    sides = few.boxes[:, 2:] - few.boxes[:, :2]
    assert (sides.prod(axis=1) > 64 * 64).sum() == 6


def test_a_crowd_is_refused_before_it_takes_long_and_others_never_are(
    detector: FaceDetector, portrait: Pixels, group: Pixels
) -> None:
    wary = FaceDetector(crowd=30)
    with pytest.raises(Crowded):
        wary.detect(mosaic(portrait, detector, 20, 6, 56))
    for photo in (portrait, group):
        found, same = wary.detect(photo), detector.detect(photo)
        assert np.array_equal(found.boxes, same.boxes)
