"""Thresholds and confidences from people: that they keep what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from serving.evaluation.calibrate import Calibrated, Wanted, calibrate, fit_logistic
from serving.evaluation.comparisons import compare, compare_records
from serving.evaluation.metrics import calibration_error, reliability
from serving.evaluation.sample import NotMeasurable, Sample
from serving.gallery.segment import normalised
from serving.model.card import ModelCard
from tests.support.samples import crowd, sample_of
from tests.support.stages import CARD

DIMENSION = 40


def calibrated(sample: Sample, wanted: Wanted | None = None) -> Calibrated:
    return calibrate(sample, wanted or Wanted(), np.random.default_rng(0), "a test")


@pytest.fixture(scope="module")
def found() -> Calibrated:
    return calibrated(crowd(50, photos=4, spread=0.6, dimension=DIMENSION))


@pytest.fixture(scope="module")
def card(found: Calibrated) -> ModelCard:
    return found.card(CARD)


def test_logistic_regression_finds_the_curve() -> None:
    x = np.linspace(0, 1, 50)
    target = 1 / (1 + np.exp(-(20 * x - 11)))
    slope, intercept = fit_logistic(x, target, np.full(50, 0.02))
    assert slope == pytest.approx(20, rel=1e-4)
    assert intercept == pytest.approx(-11, rel=1e-4)


class TestCompare:
    def test_a_photo_is_compared_with_everything_but_itself(self) -> None:
        rows = np.eye(6)[[0, 0, 1, 1, 1, 2, 3, 4]]
        sample = sample_of(rows, [0, 0, 7, 7, 7, 8, 9, 10])
        compared = compare(sample, np.random.default_rng(0))
        assert (compared.photos, compared.people) == (8, 5)
        assert compared.single.cosines.tolist() == [1.0] * 4
        assert compared.centroid.cosines.tolist() == [1.0] * 5
        assert compared.strangers.cosines.tolist() == [0.0] * 8 * 4
        assert len(compared.strange_pairs.cosines) == 28 - 4
        assert compared.single.shares() == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])

    def test_photos_without_a_face_do_not_count(self) -> None:
        whole = crowd(8, 3)
        compared = compare(
            sample_of(whole.vectors, whole.person.tolist(), missing=[0, 1, 2, 5]),
            np.random.default_rng(0),
        )
        assert (compared.photos, compared.people) == (20, 7)
        assert 0 not in compared.strangers.people
        assert np.isfinite(compared.single.cosines).all()

    def test_a_photo_is_compared_with_two_records_of_its_person(self) -> None:
        """Of one and the same photo, and of one that deviates; everybody else has two photos."""
        a, b = np.eye(8)[:2]
        rows = [a, a, 0.8 * a + 0.6 * b, *np.eye(8)[[2, 2, 3, 3]]]
        records = compare_records(sample_of(rows, [5, 5, 5, 6, 6, 7, 7]), np.random.default_rng(0))
        assert set(records.person.tolist()) == {0}
        found = {(round(low, 6), round(gap, 6)) for low, gap in zip(records.lower, records.gap,
                                                                    strict=True)}  # fmt: skip
        assert found == {(0.8, 0.2), (0.8, 0.0)}
        # Each photo as often, with single photos and with halves: of two others both are the same.
        assert len(records.lower) == 3 * 2 * 10

    @pytest.mark.parametrize(("people", "photos"), [(4, 5), (9, 1)])
    def test_too_few(self, people: int, photos: int) -> None:
        with pytest.raises(NotMeasurable, match="too few"):
            compare(crowd(people, photos), np.random.default_rng(0))


class TestPromises:
    def test_of_strangers(self, found: Calibrated, card: ModelCard) -> None:
        rng = np.random.default_rng(5)
        probes, others = (rng.standard_normal((n, DIMENSION)) for n in (2000, 1000))
        probes /= np.linalg.norm(probes, axis=1, keepdims=True)
        others /= np.linalg.norm(others, axis=1, keepdims=True)
        cosines = probes @ others.T
        assert 0.002 < (cosines.max(axis=1) >= card.threshold).mean() < 0.02
        assert 0.0003 < (cosines >= card.pairs.threshold).mean() < 0.002
        assert card.pairs.threshold < card.threshold

    @pytest.mark.parametrize("gallery", [20, 1000, 20_000])
    def test_of_the_confidence_in_galleries_of_any_size(
        self, card: ModelCard, gallery: int
    ) -> None:
        """Half of the lookups are of enrolled people, half of whom are enrolled with one photo and
        half with three; what is told and what is true must be the same."""
        rng = np.random.default_rng(gallery)
        others = normalised(rng.standard_normal((gallery - 1, DIMENSION)))
        own = rng.standard_normal((3000, DIMENSION))
        photos = [normalised(own + 0.6 * rng.standard_normal(own.shape)) for _ in range(4)]
        one = (np.arange(len(own)) % 4 < 2)[:, None]
        enrolled = np.where(one, photos[1], normalised(np.sum(photos[1:], axis=0)))
        strangers = (photos[0] @ others.T).max(axis=1)
        cosines = np.einsum("ij,ij->i", photos[0], enrolled)
        mine = np.where(np.arange(len(own)) % 2, cosines, -1)
        best, right = np.maximum(mine, strangers).astype(np.float64), mine > strangers
        told, uncorrected = (
            calibration_error(
                reliability(
                    np.array([card.confidence(c, n) for c in best.tolist()]), right, np.ones(3000)
                )
            )
            for n in (gallery, None)
        )
        assert told < 0.07
        assert told < uncorrected or gallery == 1000

    def test_of_pairs(self, found: Calibrated) -> None:
        sample = crowd(200, photos=2, spread=0.6, dimension=DIMENSION, seed=3)
        own = np.einsum("ij,ij->i", sample.vectors[::2], sample.vectors[1::2])
        strange = np.einsum("ij,ij->i", sample.vectors[::2], np.roll(sample.vectors[1::2], 1, 0))
        curve = found.verification.calibration
        told = [curve.probability(float(c)) for c in [*own, *strange]]
        assert np.mean(told) == pytest.approx(0.5, abs=0.04)
        assert np.mean(told[:200]) > 0.85

    def test_of_the_margin(self, card: ModelCard) -> None:
        """Of people who are enrolled twice, and whom the calibration has not seen, 95% are within
        the margin where both records reach the threshold."""
        assert card.margin is not None
        sample = crowd(2000, photos=3, spread=0.6, dimension=DIMENSION, seed=4)
        probe, one, other = sample.vectors.reshape(2000, 3, -1).transpose(1, 0, 2)
        cosines = np.stack([(probe * record).sum(axis=1) for record in (one, other)])
        both = cosines.min(axis=0) >= card.threshold
        assert both.sum() > 500
        within = np.ptp(cosines[:, both], axis=0) <= card.margin.cosine
        assert 0.9 < within.mean() < 0.98


class TestCard:
    def test_it_tells_what_was_measured(self, found: Calibrated, card: ModelCard) -> None:
        assert card.id == CARD.id
        assert card.impostors == found.fit.expected
        assert card.threshold == pytest.approx(found.fit.expected.threshold(1000, 0.01), abs=1e-3)
        assert card.calibration.gallery == 1000
        for text in (
            card.calibration.measured_on,
            card.pairs.calibration.measured_on,
            found.fit.expected.measured_on,
            card.margin.measured_on if card.margin else "",
        ):
            assert text.startswith("200 photos of 50 people (a test): ")
        assert ModelCard.from_json(card.to_json()) == card

    def test_what_is_wanted_counts(self) -> None:
        sample = crowd(8, dimension=DIMENSION)
        strict, lax = (calibrated(sample, Wanted(1000, fpir, far)).card(CARD) for fpir, far in
                       ((0.001, 0.0001), (0.1, 0.01)))  # fmt: skip
        large = calibrated(sample, Wanted(gallery=100_000)).card(CARD)
        assert strict.threshold > lax.threshold
        assert strict.pairs.threshold > lax.pairs.threshold
        assert large.threshold > calibrated(sample).threshold
        assert large.calibration.gallery == 100_000

    def test_separable_people_give_a_finite_curve(self) -> None:
        found = calibrated(crowd(6, photos=3, spread=0.01, dimension=200))
        assert 0 < found.calibration.slope < 200
        assert 0 < found.verification.calibration.slope < 200

    def test_folders_that_are_mixed_up_are_refused(self) -> None:
        rows = crowd(10, photos=4).vectors
        # Everybody's photos are of the others: one person is less alike than two.
        mixed = rows.reshape(10, 4, -1).transpose(1, 0, 2).reshape(40, -1)
        with pytest.raises(NotMeasurable, match="not told apart"):
            calibrated(sample_of(mixed, np.arange(10).repeat(4).tolist()))
