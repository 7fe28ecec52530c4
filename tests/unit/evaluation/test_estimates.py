"""Intervals over people, and what too few comparisons cannot tell."""

from __future__ import annotations

import math

import numpy as np
import pytest

from serving.evaluation.estimates import Estimate, at_rate, draws_of, estimate, estimates

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
    [(999, "too few: 999 with strangers, 1,000 needed"), (1000, "rough: rests on 1"),
     (29_999, "rough: rests on 29"), (30_000, None)],
)  # fmt: skip
def test_a_rate_needs_comparisons(comparisons: int, note: str | None) -> None:
    found = at_rate(Estimate(0.9, 0.8, 1.0), 0.001, comparisons)
    assert found.note == note
    assert (found.value is None) == (comparisons < 1000)
