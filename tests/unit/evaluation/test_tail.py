"""The tail of strangers' cosines: what was put in is found, and few people make it stricter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.evaluation.comparisons import compare
from serving.evaluation.tail import Comparisons, Fit, fit
from serving.model.impostors import Impostors, shape_of
from tests.support.samples import crowd

AT = (1000, 0.01)


def drawn(mean: float, dimensions: float, people: int, seed: int = 0) -> Comparisons:
    """Each of the people with each other, by the model itself."""
    a, b = np.nonzero(~np.eye(people, dtype=bool))
    levels = np.random.default_rng(seed).random(len(a))
    model = Impostors(mean=mean, dimensions=dimensions, measured_on="")
    return Comparisons(model.best(levels, 1), np.stack([a, b], axis=1), np.ones(len(a)))


def fitted(comparisons: Comparisons, people: int, seed: int = 0) -> Fit:
    return fit(comparisons, people, AT, "a test", np.random.default_rng(seed))


@settings(max_examples=4)
@given(st.floats(-0.1, 0.1), st.floats(20, 300), st.integers(0, 1000))
def test_what_was_put_in_is_found(mean: float, dimensions: float, seed: int) -> None:
    found = fitted(drawn(mean, dimensions, 50, seed), 50).likeliest
    assert found.mean == pytest.approx(mean, abs=0.02)
    assert found.dimensions == pytest.approx(dimensions, rel=0.25)


def on_a_grid(cosines: NDArray[np.float64], near: float) -> Impostors:
    """The likeliest fit, from a density summed on a grid, by trying dimensions about ``near``."""
    grid = (np.arange(16_384) + 0.5) / 8192 - 1
    border = np.quantile(cosines, 0.9, method="inverted_cdf")
    tail, mean = cosines[cosines > border], float(cosines.mean())
    share = len(tail) / len(cosines)

    def likelihood(dimensions: float) -> float:
        a, b = shape_of(mean, dimensions)
        logs = (a - 1) * np.log1p(grid) + (b - 1) * np.log1p(-grid)
        whole = np.logaddexp.reduce(logs)
        below = np.logaddexp.reduce(logs[grid <= border])
        inside = ((a - 1) * np.log1p(tail) + (b - 1) * np.log1p(-tail)).mean() - whole
        return float(share * inside + (1 - share) * (below - whole))

    tried = near * np.geomspace(0.9, 1.1, 401)
    best = float(tried[np.argmax([likelihood(d) for d in tried])])
    return Impostors(mean=mean, dimensions=best, measured_on="")


@pytest.mark.parametrize(
    ("people", "dimensions"), [(37, 20), (42, 40), (48, 70), (54, 120), (60, 200)]
)
def test_the_likelihood_is_that_of_a_density_on_a_grid(people: int, dimensions: float) -> None:
    comparisons = drawn(0.02, dimensions, people)
    exact = fitted(comparisons, people).likeliest
    summed = on_a_grid(comparisons.cosines, exact.dimensions)
    assert exact.dimensions == pytest.approx(summed.dimensions, rel=0.002)
    assert exact.threshold(*AT) == pytest.approx(summed.threshold(*AT), abs=0.0003)


def test_only_the_tail_decides() -> None:
    """Of the lower nine tenths half are put just below the border, half as far down as the mean
    needs."""
    whole = drawn(0, 60, 60)
    border = np.quantile(whole.cosines, 0.9)
    body = np.flatnonzero(whole.cosines < border)
    bent = whole.cosines.copy()
    bent[body] = border - 1e-6
    bent[body[::2]] -= 2 * (border - whole.cosines[body].mean())
    found = fitted(Comparisons(bent, whole.people, whole.shares), 60).likeliest
    assert found.dimensions == pytest.approx(fitted(whole, 60).likeliest.dimensions, rel=0.1)


@pytest.mark.parametrize("people", [8, 25, 60])
def test_what_is_used_is_stricter_the_fewer_people(people: int) -> None:
    found = fitted(compare(crowd(people), np.random.default_rng(0)).strangers, people)
    likeliest, expected = found.likeliest.threshold(*AT), found.expected.threshold(*AT)
    assert expected >= likeliest - 0.002
    assert found.low < expected <= found.high
    assert expected - likeliest < 1.5 / people


def test_the_rate_keeps_its_target_among_people_who_were_not_seen() -> None:
    """Calibrated on 40 people, tried on galleries of a hundred and of ten thousand others."""
    sample = crowd(40, photos=3, spread=0.6, dimension=40)
    found = fitted(compare(sample, np.random.default_rng(0)).strangers, 40).expected
    rng = np.random.default_rng(9)
    probes = rng.standard_normal((1000, 40))
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    for size in (100, 10_000):
        others = rng.standard_normal((size, 40))
        others /= np.linalg.norm(others, axis=1, keepdims=True)
        rate = ((probes @ others.T).max(axis=1) >= found.threshold(size, 0.02)).mean()
        assert 0.001 < rate < 0.04


def test_people_count_the_same_however_many_photos_there_are() -> None:
    whole = crowd(12, 4)
    comparisons = compare(whole, np.random.default_rng(0)).strangers
    sums = np.zeros((12, 12))
    np.add.at(sums, tuple(comparisons.people.T), comparisons.shares)
    assert sums == pytest.approx(1 - np.eye(12))
