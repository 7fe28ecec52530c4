"""The cosines of strangers, and the largest of many of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.model.impostors import Impostors

means = st.floats(-0.3, 0.3)
dimensions = st.floats(5, 5000)
sizes = st.integers(1, 10**8)
rates = st.floats(1e-6, 0.5)


def impostors(mean: float = 0.0, dimensions: float = 50) -> Impostors:
    return Impostors(mean=mean, dimensions=dimensions, measured_on="nobody")


def test_in_seven_dimensions_it_is_the_integral_by_hand() -> None:
    """The density is (1 - c^2)^2 * 15/16, whose integral is a polynomial."""
    for c in (-0.9, -0.2, 0.0, 0.3, 0.8):
        above = 0.5 - 15 / 16 * (c - 2 * c**3 / 3 + c**5 / 5)
        assert impostors(0, 7).survival(c) == pytest.approx(above, rel=1e-5)


def test_it_is_that_of_random_directions() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((200_000, 24))
    cosines = rows[:, 0] / np.linalg.norm(rows, axis=1)
    for threshold in (0.0, 0.3, 0.5, 0.6):
        measured = (cosines >= threshold).mean()
        error = 4 * math.sqrt(measured / len(cosines))
        assert impostors(0, 24).survival(threshold) == pytest.approx(measured, abs=error)


@pytest.mark.parametrize("people", [1, 10, 1000])
def test_the_best_of_many_random_directions_keeps_the_rate(people: int) -> None:
    rng = np.random.default_rng(people)
    rows = rng.standard_normal((4_000_000 // people // 2, people, 8))
    best = (rows[..., 0] / np.linalg.norm(rows, axis=-1)).max(axis=1)
    rate = 0.05
    found = (best >= impostors(0, 8).threshold(people, rate)).mean()
    assert found == pytest.approx(rate, abs=4 * math.sqrt(rate / len(best)))


def test_the_mean_is_the_mean() -> None:
    levels = (np.arange(20_000) + 0.5) / 20_000
    cosines = impostors(0.08, 40).best(levels, 1)
    assert cosines.mean() == pytest.approx(0.08, abs=1e-4)
    assert cosines.var() == pytest.approx((1 - 0.08**2) / 40, rel=1e-3)


@given(means, dimensions, sizes, rates)
def test_the_threshold_gives_the_rate(mean: float, d: float, people: int, rate: float) -> None:
    found = impostors(mean, d)
    threshold = found.threshold(people, rate)
    assert -1 < threshold < 1
    assert found.fpir(threshold, people) == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize(
    ("people", "threshold"),
    [
        (1, 0.382796),
        (100, 0.567110),
        (1_000, 0.630062),
        (10_000, 0.681491),
        (100_000, 0.724294),
        (1_000_000, 0.760380),
    ],
)
def test_the_thresholds_of_facenet_casia_webface(people: int, threshold: float) -> None:
    """Computed apart, with an incomplete Beta function by continued fractions."""
    assert impostors(0.022, 39.9).threshold(people, 0.01) == pytest.approx(threshold, abs=5.1e-7)


def test_the_tail_is_exact_up_to_its_end() -> None:
    assert impostors(0, 5).threshold(1_000_000, 0.01) == pytest.approx(0.999884, abs=5.1e-7)


@given(means, dimensions, sizes, rates)
def test_more_people_and_fewer_mistakes_are_stricter(
    mean: float, d: float, people: int, rate: float
) -> None:
    found = impostors(mean, d)
    threshold = found.threshold(people, rate)
    assert found.threshold(people * 10, rate) > threshold
    assert found.threshold(people, rate / 10) > threshold
    assert impostors(mean, d * 1.5).threshold(people, rate) < threshold or threshold < mean


@given(means, dimensions)
def test_survival_falls_from_one_to_nothing(mean: float, d: float) -> None:
    found = [impostors(mean, d).survival(c) for c in np.linspace(-1, 1, 101)]
    assert found[0] == pytest.approx(1)
    assert found[-1] < 1e-4
    assert all(b <= a for a, b in itertools.pairwise(found))


def test_a_threshold_that_everybody_reaches() -> None:
    assert impostors().fpir(-1, 10) == 1
    assert impostors().fpir(1, 10) < 1e-30


@pytest.mark.parametrize("changes", [{"mean": 0.6}, {"dimensions": 4}, {"dimensions": math.nan}])
def test_what_is_no_distribution_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        impostors(**changes)
