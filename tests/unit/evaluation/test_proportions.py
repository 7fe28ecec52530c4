"""Intervals of error rates: exact where trials are independent, wider where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from serving.evaluation.proportions import Rate, rate_of, upper_bounds


def test_counts_and_value() -> None:
    errors = np.array([True, False, False, True, False, False])
    found = rate_of(errors, np.array([4, 4, 4, 9, 9, 2]), np.array([0, 0, 1, 2, 2, 3]))
    assert found.value == pytest.approx(1 / 3)
    assert (found.errors, found.lookups, found.photos) == (2, 6, 4)
    assert (found.people, found.people_with_errors) == (3, 2)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1 / 3 < found.high


def test_independent_trials_have_the_exact_interval() -> None:
    errors = np.arange(200) < 6
    found = rate_of(errors, np.arange(200))
    exact = binomtest(6, 200).proportion_ci(method="exact")
    assert found.low == pytest.approx(exact.low, rel=0.01)
    assert found.high == pytest.approx(exact.high, rel=0.01)


def test_without_an_error_people_are_the_trials() -> None:
    found = rate_of(np.zeros(1000, bool), np.arange(1000) // 50)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 20))
    all_wrong = rate_of(np.ones(1000, bool), np.arange(1000) // 50)
    assert all_wrong.high == 1
    assert all_wrong.low == pytest.approx(0.025 ** (1 / 20))


def test_lookups_of_one_photo_in_many_galleries_prove_no_more() -> None:
    errors = np.arange(60) % 10 == 0
    once = rate_of(errors, np.arange(60), np.arange(60))
    often = rate_of(np.tile(errors, 50), np.tile(np.arange(60), 50), np.tile(np.arange(60), 50))
    assert often.lookups == 50 * once.lookups
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def test_nothing_to_measure() -> None:
    assert rate_of(np.empty(0, bool), np.empty(0, np.intp)) == Rate(None, note="nothing to measure")


@pytest.mark.parametrize(
    ("people", "rate", "alike"),
    [(40, 0.05, 0.0), (40, 0.05, 0.5), (100, 0.02, 0.8), (30, 0.3, 0.5)],
)
def test_coverage(people: int, rate: float, alike: float) -> None:
    """The interval holds the true rate in 95% of the samples or more, however alike the photos of
    one person are. The exact one errs to the safe side."""
    rng = np.random.default_rng(11)
    person = np.arange(people).repeat(6)
    covered = 0
    for _ in range(400):
        # A person's photos share one outcome, or each has its own.
        own = rng.uniform(size=people) < rate
        same = rng.uniform(size=len(person)) < alike
        errors = np.where(same, own[person], rng.uniform(size=len(person)) < rate)
        found = rate_of(errors, person)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= rate <= found.high
    assert covered >= 0.94 * 400


def test_upper_bounds_rise() -> None:
    bounds = upper_bounds(np.linspace(0, 1, 50), 30)
    assert bounds[0] == pytest.approx(1 - 0.05 ** (1 / 30))
    assert bounds[-1] == 1
    assert (np.diff(bounds) >= 0).all()
