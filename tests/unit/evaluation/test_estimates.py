"""Intervals over people, and what too few comparisons cannot tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from serving.evaluation.estimates import (
    Estimate,
    at_rate,
    clopper_pearson,
    draws_of,
    estimate,
    estimates,
    needed_for,
    shown_from,
)

RNG = np.random.default_rng(0)


def test_each_replicate_draws_as_many_people_as_there_are() -> None:
    draws = draws_of(7, 500, np.random.default_rng(0))
    assert draws.shape == (500, 7)
    assert (draws.sum(axis=1) == 7).all()
    assert draws.mean() == 1
    assert draws.std() > 0.5


def test_the_interval_of_a_mean_is_that_of_the_textbook() -> None:
    """Of n numbers the mean's standard error is s / sqrt(n)."""
    values = np.random.default_rng(3).standard_normal(400)
    draws = draws_of(400, 2000, np.random.default_rng(4))
    found = estimate(lambda drawn: float((drawn * values).sum() / drawn.sum()), draws)
    assert found.value == pytest.approx(values.mean())
    assert found.low is not None
    assert found.high is not None
    error = values.std() / 20
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.1)


def test_photos_of_one_person_are_no_independent_ones() -> None:
    """Ten equal photos of each of 20 people are as uncertain as one photo of each."""
    person = np.arange(20).repeat(10)
    right = (person % 2).astype(float)
    draws = draws_of(20, 2000, np.random.default_rng(5))
    found = estimate(lambda d: float((d[person] * right).sum() / d[person].sum()), draws)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 20), rel=0.15)


def test_replicates_that_leave_nothing_do_not_count() -> None:
    draws = np.array([[2, 0], [0, 2], [1, 1]])
    found = estimate(lambda d: math.nan if not d[0] else float(d[0]), draws)
    assert found.value == 1
    assert [found.low, found.high] == pytest.approx([1.025, 1.975])


def test_nothing_at_all() -> None:
    assert estimate(lambda d: math.nan, np.ones((3, 2), np.int64)).value is None
    first, second = estimates(lambda d: (1.0, math.nan), np.ones((3, 2), np.int64), [None, "no"])
    assert (first.low, first.high) == (1, 1)
    assert second == Estimate(None, note="no")


@pytest.mark.parametrize(
    ("comparisons", "note"),
    [(2999, "not shown: 2,999 of strangers, 3,000 needed"), (3000, "rough: rests on 3"),
     (29_999, "rough: rests on 29"), (30_000, None)],
)  # fmt: skip
def test_a_rate_needs_comparisons(comparisons: int, note: str | None) -> None:
    found = at_rate(Estimate(0.9, 0.8, 1.0), 0.001, comparisons)
    assert found.note == note
    assert (found.value is None) == (comparisons < 3000)


def test_a_rate_of_nothing_has_an_upper_bound() -> None:
    """Nothing seen among 20 people: the exact bound, not an interval of 0 to 0."""
    draws = draws_of(20, 50, np.random.default_rng(0))
    none, all_, half = estimates(lambda d: (0.0, 1.0, 0.5), draws, [None] * 3, people=[20, 20, 20])
    assert none.low == 0
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert all_.low == pytest.approx(0.025 ** (1 / 20))
    assert (half.low, half.high) == (0.5, 0.5)


@pytest.mark.parametrize(("errors", "trials"), [(0, 10), (3, 10), (10, 10), (1, 1000)])
def test_the_exact_interval_is_that_of_the_binomial_distribution(errors: int, trials: int) -> None:
    low, high = clopper_pearson(errors / trials, trials)
    expected = binomtest(errors, trials).proportion_ci(method="exact")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("rate", "trials"), [(0.01, 300), (0.003, 1000), (0.001, 3000)])
def test_the_rule_of_three(rate: float, trials: int) -> None:
    assert needed_for(rate) == trials
    assert shown_from(trials) == pytest.approx(rate)
    # It is an approximation of the exact one-sided bound.
    assert clopper_pearson(0, trials, 0.05)[1] == pytest.approx(rate, rel=0.01)
