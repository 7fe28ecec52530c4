"""Aligned crops: the landmarks lie where the model wants them, however the face lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from serving.errors import Unavailable
from serving.vision.align import Alignment, align_face, alignment_of
from serving.vision.faces import find_faces
from serving.vision.mtcnn.detector import FaceDetector
from serving.vision.records import Photo
from tests.support.stages import ALIGNED, CARD

Pixels = NDArray[np.uint8]
Points = NDArray[np.float32]
GIVEN = alignment_of(ALIGNED.preprocessing)
assert GIVEN is not None
ALIGNMENT: Alignment = GIVEN
WANTED = np.array(ALIGNMENT.points)


def photo_of(pixels: Pixels) -> Photo:
    return Photo(pixels, width=pixels.shape[1], height=pixels.shape[0])


def turned(degrees: float, scale: float, x: float, y: float) -> Points:
    """The points of the crop, turned about its middle against the clock, scaled and moved."""
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return ((WANTED - 56) @ turn.T + (x, y)).astype(np.float32)


def dotted(points: Points, radius: float) -> Image.Image:
    """A grey photo with a bright dot at each of the points, in the middle of pixels."""
    y, x = np.mgrid[:480, :640]
    distance = np.min([np.hypot(x - px, y - py) for px, py in points], axis=0)
    dots = 60 + 190 * np.clip(radius - distance + 0.5, 0, 1)
    return Image.fromarray(np.repeat(dots[..., None], 3, 2).round().astype(np.uint8))


class TestAlignmentOf:
    def test_a_card_without_one_is_of_faces_along_their_box(self) -> None:
        assert alignment_of(CARD.preprocessing) is None
        assert alignment_of({"detector": "MTCNN box, no alignment", "size": 160}) is None

    def test_a_crop_along_the_box_is_that_of_one_detector(self) -> None:
        boxes = {"detector": "MTCNN box, no alignment", "size": 160}
        with pytest.raises(Unavailable, match=r"boxes of mtcnn, and detect\.model is yunet"):
            alignment_of(boxes, "yunet")
        with pytest.raises(Unavailable, match=r"detect\.model is yunet"):
            alignment_of({}, "yunet")  # cards of before say nothing of it
        other = {"detector": "YuNet box, no alignment"}
        assert alignment_of(other, "yunet") is None
        with pytest.raises(Unavailable, match=r"set detect\.model to yunet"):
            alignment_of(other)

    def test_an_aligned_one_is_of_either_detector(self) -> None:
        assert alignment_of(ALIGNED.preprocessing, "yunet") == GIVEN

    def test_a_card_with_one(self) -> None:
        assert ALIGNMENT.size == 112
        assert ALIGNMENT.points[0] == (38.0, 52.0)
        assert len(ALIGNMENT.points) == 5

    @pytest.mark.parametrize(
        "changes",
        [
            {"align": "in three dimensions"},
            {"align": True},
            {"size": None},
            {"size": 0},
            {"size": 100_000},
            {"points": [[1, 2]]},
            {"points": [[1, 2, 3]] * 5},
            {"points": "everywhere"},
        ],
    )
    def test_what_is_not_known_is_refused(self, changes: dict[str, Any]) -> None:
        with pytest.raises(Unavailable, match="upgrade the service"):
            alignment_of({**ALIGNED.preprocessing, **changes})
        missing = {k: v for k, v in ALIGNED.preprocessing.items() if k not in changes}
        if "align" not in changes:
            with pytest.raises(Unavailable):
                alignment_of(missing)


class TestAlignFace:
    @pytest.mark.parametrize(
        ("degrees", "scale"), [(0, 1), (0, 2.5), (30, 1.5), (-75, 0.8), (140, 2), (180, 3)]
    )
    def test_landmarks_lie_at_the_points(self, degrees: float, scale: float) -> None:
        landmarks = turned(degrees, scale, 310.3, 245.7)
        crop = align_face(dotted(landmarks, 3 * scale), landmarks, ALIGNMENT)
        assert crop.shape == (112, 112, 3)
        assert crop.dtype == np.uint8
        y, x = np.mgrid[:112, :112]
        for px, py in WANTED:
            weight = (crop[..., 0] > 155) * (np.hypot(x - px, y - py) < 7)
            middle = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
            assert np.abs(middle - (px, py)).max() < 0.2

    @pytest.mark.parametrize(("degrees", "scale"), [(20, 2), (-50, 1.4), (180, 1)])
    def test_a_turned_face_gives_the_same_crop(self, degrees: float, scale: float) -> None:
        upright, lying = turned(0, scale, 300, 240), turned(degrees, scale, 320.5, 231.2)
        one = align_face(dotted(upright, 8 * scale), upright, ALIGNMENT)
        other = align_face(dotted(lying, 8 * scale), lying, ALIGNMENT)
        assert np.abs(one.astype(int) - other).mean() < 1

    def test_landmarks_that_do_not_fit_are_met_with_the_least_squares(self) -> None:
        rng = np.random.default_rng(0)
        landmarks = turned(25, 2, 300, 240) + rng.normal(0, 6, (5, 2)).astype(np.float32)
        # x' = a x - b y + u, y' = b x + a y + v
        x, y = landmarks.astype(np.float64).T
        ones, zeros = np.ones(5), np.zeros(5)
        rows = np.concatenate([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
        a, b, u, v = np.linalg.lstsq(rows, WANTED.T.ravel(), rcond=None)[0]
        met = np.stack([a * x - b * y + u, b * x + a * y + v], 1).astype(np.float32)
        # A dot at a landmark lies where that similarity brings it.
        crop = align_face(dotted(landmarks, 6), landmarks, ALIGNMENT)
        py, px = np.mgrid[:112, :112]
        for at in met:
            weight = (crop[..., 0] > 155) * (np.hypot(px - at[0], py - at[1]) < 5)
            middle = np.array([(px * weight).sum(), (py * weight).sum()]) / weight.sum()
            assert np.abs(middle - at).max() < 0.3

    def test_what_lies_outside_of_the_photo_is_black(self) -> None:
        white = Image.new("RGB", (640, 480), "white")
        crop = align_face(white, turned(0, 1, 0, 240), ALIGNMENT)
        assert (crop[:, :55] == 0).all()
        assert (crop[:, 57:] == 255).all()

    @pytest.mark.parametrize("landmarks", [np.full((5, 2), 9.0), np.zeros((5, 2)), WANTED[:, ::-1]])
    def test_any_landmarks_give_a_crop(self, landmarks: Points) -> None:
        image = dotted(turned(0, 1, 300, 240), 5)
        crop = align_face(image, landmarks.astype(np.float32), ALIGNMENT)
        assert crop.shape == (112, 112, 3)


class TestFindFaces:
    def test_aligned_crops_beside_the_same_boxes_and_quality(
        self, detector: FaceDetector, group: Pixels
    ) -> None:
        along_box = find_faces(photo_of(group), detector)
        aligned = find_faces(photo_of(group), detector, alignment=ALIGNMENT)
        assert aligned.crops.shape == (len(along_box), 3, 112, 112)
        assert aligned.crops.dtype == np.uint8
        assert aligned.quality == along_box.quality
        assert np.array_equal(aligned.boxes, along_box.boxes)
        one = align_face(Image.fromarray(group), aligned.landmarks[0], ALIGNMENT)
        assert np.array_equal(aligned.crops[0], one.transpose(2, 0, 1))

    def test_no_face(self, detector: FaceDetector) -> None:
        nobody = photo_of(np.full((90, 90, 3), 99, np.uint8))
        assert find_faces(nobody, detector, alignment=ALIGNMENT).crops.shape == (0, 3, 112, 112)

    @pytest.mark.parametrize("turns", [1, 2, 3])
    def test_a_photo_that_lies_on_a_side(
        self, detector: FaceDetector, portrait: Pixels, turns: int
    ) -> None:
        upright = find_faces(photo_of(portrait), detector, alignment=ALIGNMENT)
        lying = photo_of(np.ascontiguousarray(np.rot90(portrait, turns)))
        found = find_faces(lying, detector, alignment=ALIGNMENT)
        assert np.array_equal(found.crops, upright.crops)

    @pytest.mark.parametrize("degrees", [-20, 20])
    def test_a_tilted_head(self, detector: FaceDetector, portrait: Pixels, degrees: int) -> None:
        upright = find_faces(photo_of(portrait), detector, 1, alignment=ALIGNMENT)
        image = Image.fromarray(portrait).rotate(degrees, Image.Resampling.BICUBIC, expand=True)
        tilted = find_faces(photo_of(np.asarray(image)), detector, 1, alignment=ALIGNMENT)
        alike = np.corrcoef(upright.crops.ravel(), tilted.crops.ravel())[0, 1]
        boxed = [
            find_faces(photo_of(pixels), detector, 1).crops.ravel()
            for pixels in (portrait, np.asarray(image))
        ]
        assert alike > np.corrcoef(boxed[0], boxed[1])[0, 1] + 0.1
