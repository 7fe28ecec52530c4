"""Larger galleries, against distributions whose maxima are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import genpareto

from serving.evaluation.extremes import Strangers, Tail, fit, growth, strangers_of
from serving.evaluation.lookups import centroid_of
from serving.model.impostors import Floats, Impostors
from tests.support.samples import crowd, sample_of

NOBODY = np.empty((0, 24), np.float16)
# The distribution of strangers' cosines in the service's own model.
MODEL = Impostors(mean=0.02, dimensions=40, measured_on="nobody")


def maxima(people: int, count: int, seed: int) -> Floats:
    """The best of ``people`` strangers, ``count`` times, by the model."""
    levels = np.random.default_rng(seed).uniform(size=count)
    return MODEL.best(levels, people)


def strangers(photos: int, people: int, seed: int = 0) -> Strangers:
    levels = np.random.default_rng(seed).uniform(size=(photos, people))
    cosines = MODEL.best(levels.ravel(), 1).reshape(levels.shape).astype(np.float32)
    cosines[:, 0] = -np.inf  # one's own
    return Strangers(cosines, np.arange(photos) // 5)


def test_a_pareto_tail_is_found_again() -> None:
    excess = genpareto.rvs(-0.2, scale=0.05, size=20_000, random_state=1)
    below = np.random.default_rng(0).uniform(0, 0.4, 180_000)
    values = np.concatenate([below, 0.4 + excess])
    tail = fit(values, np.ones(len(values)), 1)
    assert tail.share == pytest.approx(0.1, rel=0.01)
    assert tail.shape == pytest.approx(-0.2, abs=0.03)
    survival = 0.1 * genpareto.sf(0.1, -0.2, scale=0.05)
    assert tail.fpir(0.5, 1) == pytest.approx(survival, rel=0.05)


@pytest.mark.parametrize("shape", [-0.4, 0.0, 1e-12, 0.3])
def test_the_tail_is_that_of_scipy(shape: float) -> None:
    tail = Tail(10, 0.4, 0.1, shape, 0.05, np.array([0.1, 0.4]), np.array([1.0, 0.1]))
    for threshold in (0.41, 0.45, 0.52):
        expected = 0.1 * genpareto.sf(threshold - 0.4, shape, scale=0.05)
        assert tail.fpir(threshold, 10) == pytest.approx(expected)
    reached = 0.01
    expected = 0.4 + genpareto.isf(reached / 0.1, shape, scale=0.05)
    assert tail.threshold(10, reached) == pytest.approx(expected)


def test_moments_agree_with_maximum_likelihood() -> None:
    values = maxima(100, 5_000, seed=2)
    tail = fit(values, np.ones(len(values)), 100)
    excess = values[values > tail.border] - tail.border
    shape, _, scale = genpareto.fit(excess, floc=0)
    assert tail.shape == pytest.approx(shape, abs=0.1)
    assert tail.scale == pytest.approx(scale, rel=0.1)


@pytest.mark.parametrize("people", [1_000, 10_000, 100_000])
def test_the_truth_lies_between_the_two_fits(people: int) -> None:
    """Of a Beta distribution, whose tail ends at 1: from the best of 100 to many more people."""
    threshold = MODEL.threshold(people, 0.01)
    free, cautious = (
        np.median(
            [
                fit(maxima(100, 2_000, seed), np.ones(2_000), 100, end).fpir(threshold, people)
                for seed in range(20)
            ]
        )
        for end in (None, 1.0)
    )
    assert 0.002 < free <= 0.01 <= cautious < 0.03


def test_within_the_data_both_are_right() -> None:
    values = maxima(100, 5_000, seed=4)
    for end in (None, 1.0):
        tail = fit(values, np.ones(len(values)), 100, end)
        for fpir in (0.3, 0.1, 0.01):
            assert tail.threshold(100, fpir) == pytest.approx(MODEL.threshold(100, fpir), abs=0.012)
            assert tail.fpir(tail.threshold(100, fpir), 100) == pytest.approx(fpir, rel=0.02)


def test_no_threshold_exceeds_one() -> None:
    tail = fit(maxima(10, 200, seed=5), np.ones(200), 10, end=1.0)
    assert tail.threshold(10**9, 1e-9) <= 1
    assert tail.fpir(1.0, 10**6) == 0
    assert tail.fpir(-1.0, 10) == 1


def test_weights_are_photos() -> None:
    values = maxima(50, 3_000, seed=6)
    twice = fit(np.repeat(values, 2), np.ones(6_000), 50)
    weighted = fit(values, np.full(3_000, 2.0), 50)
    assert weighted.shape == pytest.approx(twice.shape, abs=0.02)
    assert weighted.border == pytest.approx(twice.border, abs=0.01)


class TestGrowth:
    def test_what_is_said_of_larger_galleries(self) -> None:
        rng = np.random.default_rng(0)
        own = {"1": np.array([0.2, 0.5, 0.9, -np.inf])}
        found = growth(
            strangers(400, 201), own, lambda n: MODEL.threshold(n, 0.01), MODEL.threshold, 0.01, rng
        )
        assert (found.people, found.block, found.maxima) == (200, 201, 400)
        here = next(s for s in found.sizes if s.people == 200)
        assert here.extrapolated == 1
        assert here.fpir.value == pytest.approx(0.01, abs=0.01)
        assert here.fnir["1"] == 0.75
        far = found.sizes[-1]
        assert far.people == 1_000_000
        assert far.fpir.value is not None
        assert far.fpir_cautious.value is not None
        assert far.fpir.value <= 0.01 <= far.fpir_cautious.value
        for size in found.sizes:
            for estimate in (size.fpir, size.fpir_cautious):
                assert estimate.low <= estimate.high  # type: ignore[operator]

    def test_subsampled_galleries_predict_the_whole_one(self) -> None:
        rng = np.random.default_rng(1)
        found = growth(
            strangers(600, 201), {"1": np.ones(1)}, lambda n: 0.5, MODEL.threshold, 0.01, rng
        )
        assert {c.fitted_on for c in found.checks} == {50, 100}
        assert {c.wanted for c in found.checks} == {0.1, 0.03, 0.01}
        for check in found.checks:
            margin = 0.35 * check.wanted + 0.005
            assert check.observed == pytest.approx(check.wanted, abs=margin)
            assert check.observed_cautious == pytest.approx(check.wanted, abs=margin)
            assert check.observed_by_service == pytest.approx(check.wanted, abs=0.02)

    def test_few_photos_say_nothing(self) -> None:
        rng = np.random.default_rng(2)
        found = growth(strangers(5, 4), {"1": np.ones(1)}, lambda n: 0.5, None, 0.01, rng)
        assert found.note is not None
        assert not found.sizes

    def test_few_people_are_compared_in_small_blocks(self) -> None:
        sample = crowd(12, 5)
        found = growth(
            strangers_of(sample, NOBODY, np.random.default_rng(0)),
            {"1": np.ones(1)}, lambda n: 0.5, None, 0.01, np.random.default_rng(0),
        )  # fmt: skip
        assert found.block == 1
        assert found.maxima == 12 * 5 * 7 - 35  # one's own is none
        assert all(check.observed_by_service is None for check in found.checks)


def test_one_is_no_stranger_to_oneself() -> None:
    sample = sample_of(np.eye(4)[[0, 0, 1, 2]], [1, 1, 2, 3], missing=[3])
    found = strangers_of(sample, np.eye(4, dtype=np.float16)[[1]], np.random.default_rng(0))
    assert found.person.tolist() == [0, 0, 1]
    # Nothing of the third is enrolled.
    assert found.cosines.tolist() == [[-np.inf, 0, 0], [-np.inf, 0, 0], [0, -np.inf, 1]]
    assert centroid_of(sample.vectors[3:]).tolist() == [0, 0, 0, 0]
