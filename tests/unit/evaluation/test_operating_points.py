"""Thresholds for a wanted FPIR: the lowest ones, and one at which it holds for every group."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.evaluation.lookups import Trial, trials
from serving.evaluation.operating_points import lowest_threshold, operating_points
from serving.evaluation.proportions import upper_bounds
from serving.model.impostors import Impostors
from tests.support.samples import crowd, sample_of

NOBODY = np.empty((0, 24), np.float16)
SCORES = st.lists(
    st.sampled_from([-math.inf, *np.linspace(-0.5, 1, 16).tolist()]), min_size=1, max_size=40
)


def trial_of(people: int, photos: int = 3, **options: float) -> Trial:
    sample = crowd(people, photos, **options)  # type: ignore[arg-type]
    return trials(sample, NOBODY, 10, np.random.default_rng(0))[-1]


@given(SCORES, st.floats(0.001, 0.9))
def test_it_is_the_lowest_one(scores: list[float], fpir: float) -> None:
    best = np.array(scores)
    found = lowest_threshold(best, np.arange(len(best)), fpir)
    assert found is not None
    assert (best >= found).mean() <= fpir * (1 + 1e-9)
    finite = np.unique(best[np.isfinite(best)])
    for lower in finite[finite < found]:
        assert (best >= lower).mean() > fpir


@given(SCORES, st.floats(0.05, 0.9), st.integers(1, 3))
def test_the_bound_holds(scores: list[float], fpir: float, photos: int) -> None:
    best = np.array(scores)
    person = np.arange(len(best)) // photos
    found = lowest_threshold(best, person, fpir, bound=True)
    people = len(np.unique(person))
    if found is None:
        assert upper_bounds(np.zeros(1), people)[0] > fpir
        return
    share = np.mean([(best[person == p] >= found).mean() for p in range(people)])
    assert upper_bounds(np.array([share]), people)[0] <= fpir * (1 + 1e-6)
    plain = lowest_threshold(best, person, fpir)
    assert plain is not None
    if photos == 1:
        assert found >= plain


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([0.02, 0.1, 0.3]), st.integers(1, 4))
def test_no_group_is_above_the_wanted_rate(seed: int, fpir: float, groups: int) -> None:
    trial = trial_of(12, spread=0.9, seed=seed)
    labels = [f"g{p % groups}" for p in range(12)]
    found = operating_points(trial, 6, fpir, {"group": labels}, None)
    everybody, safe = found[0], found[2]
    assert (everybody.of, safe.of, safe.bound) == ("all people", "group", False)
    assert everybody.threshold is not None
    assert safe.threshold is not None
    assert safe.threshold >= everybody.threshold - 1e-4
    of = np.array(labels)[trial.unknown.person]
    rates = {g: (trial.unknown.best[of == g] >= safe.threshold).mean() for g in set(labels)}
    assert max(rates.values()) <= fpir * (1 + 1e-9)
    # It is that of one group, rounded up.
    assert safe.strictest in rates
    here = of == safe.strictest
    lowest = lowest_threshold(trial.unknown.best[here], trial.unknown.person[here], fpir)
    assert lowest is not None
    assert lowest <= safe.threshold < lowest + 1.01e-4


def test_the_bound_of_every_group() -> None:
    trial = trial_of(40, spread=0.9)
    labels = ["f" if p % 2 else "m" for p in range(40)]
    *_, seen, bound = operating_points(trial, 20, 0.3, {"sex": labels}, None)
    assert bound.threshold is not None
    assert seen.threshold is not None
    assert bound.threshold > seen.threshold
    of = np.array(labels)[trial.unknown.person]
    for group in "fm":
        here = of == group
        person, best = trial.unknown.person[here], trial.unknown.best[here]
        share = np.mean([(best[person == p] >= bound.threshold).mean() for p in np.unique(person)])
        assert upper_bounds(np.array([share]), len(np.unique(person)))[0] <= 0.3


def test_what_so_few_people_cannot_show() -> None:
    everybody, bound, safe, _ = operating_points(
        trial_of(12), 6, 0.01, {"sex": ["f", "m"] * 6}, None
    )
    assert bound.threshold is None
    assert bound.note is not None
    assert "not shown" in bound.note
    assert everybody.note == "seen, not shown: fewer than 300 photos"
    assert safe.note == "seen, not shown: fewer than 300 photos in f, m"


def test_the_setting_gives_the_threshold_back() -> None:
    impostors = Impostors(mean=0.0, dimensions=24, measured_on="nobody")
    for point in operating_points(trial_of(30, spread=0.9), 15, 0.1, {}, impostors):
        assert point.threshold is not None
        assert point.setting is not None
        # The setting is rounded down, which makes the threshold stricter.
        again = impostors.threshold(15, point.setting)
        assert again >= point.threshold - 1e-6
        assert again == pytest.approx(point.threshold, abs=1e-3)


def test_nobody_is_answered() -> None:
    rows = crowd(3, 2).vectors
    sample = sample_of(rows, [0, 0, 1, 1, 2, 2], missing=[2, 3, 4, 5])
    trial = trials(sample, NOBODY, 4, np.random.default_rng(0))[-1]
    found = operating_points(trial, 1, 0.1, {}, None)[0]
    assert found.threshold is not None
    assert found.fpir is not None
