"""The benchmark of crops and centroids measures what it says, and as `faces evaluate` does."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from serving.evaluation.estimates import draws_of
from serving.evaluation.identification import identify
from serving.evaluation.lookups import trials
from serving.evaluation.verification import pairs_of, verify
from serving.model.card import Calibration, ModelCard
from serving.model.impostors import Impostors
from serving.vision.faces import crop_face
from tests.bench.variants import comparing, quality
from tests.bench.variants.__main__ import interval
from tests.bench.variants.comparing import FIGURES, Embedded, Measure
from tests.bench.variants.crops import (
    FRONTAL,
    Face,
    aligned,
    as_served,
    boxed,
    clipped,
    mirrored,
    similarity,
)
from tests.bench.variants.harder import tightly
from tests.support.samples import crowd

NO_DISTRACTORS = np.empty((0, 24), np.float32)


def turn(degrees: float) -> NDArray[np.float64]:
    a = np.radians(degrees)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


def face(
    box: tuple[float, ...] = (120, 100, 280, 300), degrees: float = 0, width: int = 400
) -> Face:
    """A dark face with bright eyes, nose and mouth, on noise."""
    pixels = np.random.default_rng(0).integers(60, 90, (400, width, 3)).astype(np.uint8)
    x1, y1, x2, y2 = box
    points = FRONTAL * 70 @ turn(degrees).T + ((x1 + x2) / 2, (y1 + y2) / 2)
    image = Image.fromarray(pixels)
    for x, y in points:
        ImageDraw.Draw(image).ellipse((x - 8, y - 8, x + 8, y + 8), fill=(255, 255, 255))
    return Face(image, np.array(box, np.float32), points.astype(np.float32), 0.99)


@pytest.mark.parametrize("degrees", [0, 25, 90, 180])
def test_a_similarity_is_found_again(degrees: float) -> None:
    matrix = 1.7 * turn(degrees)
    found = similarity(FRONTAL, FRONTAL @ matrix.T + np.array([30.0, -4.0]))
    assert found == pytest.approx(np.column_stack([matrix, (30, -4)]))


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    found = similarity(FRONTAL, FRONTAL * (1.0, -1.0))
    assert np.linalg.det(found[:, :2]) > 0


def test_inside_the_photo_the_box_is_cut_as_it_is_served() -> None:
    inside = face()
    mine, served = (cut(inside).astype(int) for cut in (boxed(14), as_served))
    assert np.abs(mine - served).mean() < 5
    assert (clipped(14)(inside) == served).all()
    assert (mirrored(as_served)(inside)[:, ::-1] == served).all()


def test_past_the_edge_the_last_pixels_are_repeated() -> None:
    past = face((-80, 100, 80, 300))
    crop = boxed(0)(past)
    assert (crop[:, 20] == crop[:, 60]).all()  # the photo begins at 80
    assert (crop[:, 100] != crop[:, 140]).any()
    assert (crop_face(past.image, past.box, 0)[:, 20] != crop[:, 20]).any()


@pytest.mark.parametrize("stretch", [1.0, 1.2])
@pytest.mark.parametrize("degrees", [0, 30, -60])
def test_aligned_landmarks_lie_where_they_belong(degrees: float, stretch: float) -> None:
    crop = aligned(60, stretch)(face(degrees=degrees))
    places = FRONTAL * 60 * (1, 1 / stretch) + 80
    for x, y in places.round().astype(int):
        assert crop[y, x].min() > 200
    assert crop[10, 80].max() < 120


def test_level_eyes_are_at_one_height() -> None:
    crop = boxed(14, rotated=True)(face(degrees=20))
    eyes = np.argwhere(crop[:80].min(axis=2) > 200)
    left, right = eyes[eyes[:, 1] < 80], eyes[eyes[:, 1] >= 80]
    assert left[:, 0].mean() == pytest.approx(right[:, 0].mean(), abs=1.5)


def test_a_tight_photo_holds_the_box_and_the_border() -> None:
    assert tightly(0.1)(face()).shape == (240, 192, 3)
    assert tightly(-0.1)(face()).shape == (160, 128, 3)
    assert tightly(0.0)(face((-80, 100, 80, 300))).shape == (200, 80, 3)


def card() -> ModelCard:
    return ModelCard(
        name="a",
        id="a@000000000000",
        source="",
        licence="",
        dimension=24,
        preprocessing={},
        threshold=0.5,
        calibration=Calibration(slope=1, intercept=0, measured_on=""),
        impostors=Impostors(mean=0, dimensions=20, measured_on=""),
    )


def test_the_figures_are_those_of_evaluate() -> None:
    sample = crowd(12, photos=5, spread=1.2)
    draws = draws_of(12, 20, np.random.default_rng(1))
    found = Embedded(sample.vectors, sample.vectors, np.ones(60))
    figures = dict(
        zip(
            FIGURES,
            Measure(found, sample.person, NO_DISTRACTORS, 7, 3)(np.ones(12, int)),
            strict=True,
        )
    )

    pairs = pairs_of(sample, np.random.default_rng(0))
    verified, roc = verify(sample, pairs, card(), draws, np.random.default_rng(0))
    assert figures["EER"] == pytest.approx(verified.eer.value)
    assert figures["TAR, FAR 0.1%"] == pytest.approx(roc.tar_at(0.001))

    splits = trials(sample, NO_DISTRACTORS, 7, np.random.default_rng(3))
    one, three, rest = (identify(trial, lambda n: 0.5, draws) for trial in splits)
    assert figures["rank-1, 1"] == pytest.approx(one[0].rank1.value)
    for name, (_, curve) in {"1": one, "3": three, "all": rest}.items():
        assert figures[f"DIR 10%, {name}"] == pytest.approx(curve.tar_at(0.1))
    assert 0 < figures["named, 1"] < figures["named, all"]


def test_people_count_as_often_as_they_are_drawn() -> None:
    sample = crowd(6, photos=3, spread=1.0)
    found = Embedded(sample.vectors, sample.vectors, np.ones(18))
    measure = Measure(found, sample.person, NO_DISTRACTORS, 3, 0)
    once, thrice = measure(np.ones(6, int)), measure(np.full(6, 3))
    assert thrice == pytest.approx(once, nan_ok=True)
    assert [f for f, v in zip(FIGURES, once, strict=True) if np.isnan(v)] == ["DIR 10%, 3"]
    assert np.isnan(measure(np.array([6, 0, 0, 0, 0, 0]))).all()


def test_better_embeddings_are_better_in_every_figure() -> None:
    good, bad = (crowd(10, spread=spread) for spread in (0.9, 1.4))
    figures = []
    for sample in (good, bad):
        found = Embedded(sample.vectors, sample.vectors, np.ones(40))
        figures.append(Measure(found, sample.person, NO_DISTRACTORS, 10, 0)(np.ones(10, int)))
    assert figures[0][0] < figures[1][0]
    assert (figures[0][1:] >= figures[1][1:]).all()
    assert (figures[0][1:] > figures[1][1:]).sum() >= 7


def test_the_rules() -> None:
    rows = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 1]]
    ones = np.ones(5)
    assert comparing.two_centroids(rows, rows, ones) == pytest.approx(1)
    assert comparing.nearest(rows, rows, ones) == pytest.approx(1)
    assert comparing.centroid(rows[:1], rows, ones) == pytest.approx(2 / np.hypot(2, 3))
    only_the_first = np.array([1.0, 1, 0, 0, 0])
    assert comparing.centroid(rows[:1], rows, only_the_first) == pytest.approx(1)
    both = comparing.both(rows[:1], rows, ones)
    assert both == pytest.approx((1 + 2 / np.hypot(2, 3)) / 2)
    same = rows[:3] * 0 + rows[0]
    assert comparing.two_centroids(rows[:1], same, ones[:3]) == pytest.approx(1)


def test_weights_fall_with_quality() -> None:
    sharp = np.random.default_rng(0).integers(0, 256, (2, 3, 160, 160)).astype(np.uint8)
    sharp[1] = sharp[1].mean()
    first, second = quality.by_sharpness(sharp)
    assert [first, second] == [1, 0.05]
    assert quality.by_size(np.array([40.0, 160, 500])).tolist() == [0.25, 1, 1]
    front = face()
    landmarks = front.landmarks.copy()
    landmarks[2, 0] += 20
    aside = Face(front.image, front.box, landmarks, 0.91)
    assert quality.by_pose([front, aside]) == pytest.approx([1, 1 - 2 * 20 / 70])
    assert quality.by_score([front, aside]) == pytest.approx([0.9, 0.1])


def test_a_difference_on_the_same_people_has_an_interval_of_its_own() -> None:
    rates = np.random.default_rng(0).random((500, 2))
    low, high = interval(rates + np.array([0.001, 0]), rates)
    assert low == pytest.approx([0.001, 0])
    assert high == pytest.approx([0.001, 0])
