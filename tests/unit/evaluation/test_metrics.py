"""Error rates against values by hand and by brute force."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from serving.evaluation.metrics import Floats, Scores, calibration_error, reliability, share

# Few different ones, so that many are equal; -inf is a photo without a face.
some_scores = hnp.arrays(
    np.float64, st.integers(1, 30), elements=st.sampled_from([-math.inf, -0.5, 0.0, 0.25, 0.5, 0.9])
)
counts = st.integers(0, 2**32 - 1)


def shares(scores: Floats, weights: NDArray[Any], threshold: float) -> float:
    """By the definition, one at a time."""
    pairs = zip(scores.tolist(), weights.tolist(), strict=True)
    return float(sum(w for s, w in pairs if s >= threshold) / weights.sum())


class TestByHand:
    genuine = np.array([0.9, 0.8, 0.7, 0.3])
    impostor = np.array([0.75, 0.4, 0.2, 0.1])

    def test_rates_at_every_threshold(self) -> None:
        roc = Scores(self.genuine, self.impostor).roc()
        assert roc.thresholds.tolist() == [0.9, 0.8, 0.75, 0.7, 0.4, 0.3, 0.2, 0.1]
        assert roc.tar.tolist() == [0.25, 0.5, 0.5, 0.75, 0.75, 1, 1, 1]
        assert roc.far.tolist() == [0, 0, 0.25, 0.25, 0.5, 0.5, 0.75, 1]

    def test_tar_at_far(self) -> None:
        roc = Scores(self.genuine, self.impostor).roc()
        assert (roc.tar_at(0.2), roc.threshold_at(0.2)) == (0.5, 0.8)
        assert (roc.tar_at(0.25), roc.threshold_at(0.25)) == (0.75, 0.7)
        assert (roc.tar_at(1), roc.threshold_at(1)) == (1, 0.1)

    def test_equal_error_rate(self) -> None:
        # At 0.7 a quarter of the strangers are accepted and a quarter of the others rejected.
        assert Scores(self.genuine, self.impostor).roc().eer() == 0.25

    def test_equal_error_rate_between_two_thresholds(self) -> None:
        # (far, frr) goes from (0, 1/2) to (1, 1/2) to (1, 0): they meet at 1/2.
        assert Scores(np.array([0.9, 0.1]), np.array([0.5])).roc().eer() == 0.5
        # From (0, 1/3) straight to (1/2, 0) through equal scores: where x = 1/3 - 2x/3.
        found = Scores(np.array([0.9, 0.8, 0.5]), np.array([0.5, 0.1])).roc().eer()
        assert found == pytest.approx(0.2)

    def test_the_top_score_is_a_strangers(self) -> None:
        roc = Scores(np.array([0.5]), np.array([0.6, 0.1])).roc()
        assert roc.tar_at(0.1) == 0
        assert roc.threshold_at(0.1) > 0.6

    def test_weights(self) -> None:
        roc = Scores(self.genuine, self.impostor).roc(
            np.array([0, 0, 0, 2]), np.array([1, 1, 0, 0])
        )
        assert roc.tar_at(0.5) == 0
        assert roc.tar_at(1) == 1

    def test_a_photo_without_a_face_is_accepted_at_no_threshold(self) -> None:
        roc = Scores(np.array([0.9, -np.inf]), np.array([0.1, -np.inf])).roc()
        assert roc.tar_at(1) == 0.5
        assert roc.far[-1] == 0.5
        nobody = Scores(np.array([-np.inf]), np.array([-np.inf])).roc()
        assert (nobody.tar_at(1), nobody.eer(), nobody.threshold_at(1)) == (0, 0.5, 1)


class TestByBruteForce:
    @given(some_scores, some_scores, counts)
    def test_every_rate(self, genuine: Floats, impostor: Floats, seed: int) -> None:
        rng = np.random.default_rng(seed)
        g, i = rng.integers(1, 4, len(genuine)), rng.integers(1, 4, len(impostor))
        roc = Scores(genuine, impostor).roc(g, i)
        finite = {s for s in [*genuine.tolist(), *impostor.tolist()] if s > -math.inf}
        assert roc.thresholds.tolist() == sorted(finite, reverse=True)
        for threshold, far, tar in zip(roc.thresholds, roc.far, roc.tar, strict=True):
            assert far == pytest.approx(shares(impostor, i, threshold))
            assert tar == pytest.approx(shares(genuine, g, threshold))

    @given(some_scores, some_scores, st.floats(0, 1))
    def test_tar_at_far(self, genuine: Floats, impostor: Floats, rate: float) -> None:
        roc = Scores(genuine, impostor).roc()
        ones = np.ones(len(genuine)), np.ones(len(impostor))
        most = rate * (1 + 1e-9)  # as `Roc` has it: a share of 1 is within a rate of 1 - 1e-16
        allowed = [
            shares(genuine, ones[0], t)
            for t in roc.thresholds
            if shares(impostor, ones[1], t) <= most
        ]
        assert roc.tar_at(rate) == pytest.approx(max(allowed, default=0))
        assert shares(impostor, ones[1], roc.threshold_at(rate)) <= most

    @given(some_scores, some_scores)
    def test_equal_error_rate_lies_between_the_rates_around_it(
        self, genuine: Floats, impostor: Floats
    ) -> None:
        roc = Scores(genuine, impostor).roc()
        far, frr = [0.0, *roc.far], [1.0, *(1 - roc.tar)]
        worst = [max(a, r) for a, r in zip(far, frr, strict=True)]
        best = [min(a, r) for a, r in zip(far, frr, strict=True)]
        assert max(best) - 1e-12 <= roc.eer() <= min(worst) + 1e-12 or far[-1] < frr[-1]

    @given(some_scores, some_scores, st.integers(1, 5))
    def test_weighing_is_repeating(self, genuine: Floats, impostor: Floats, times: int) -> None:
        weights = np.arange(len(genuine)) % times + 1
        weighed = Scores(genuine, impostor).roc(weights)
        repeated = Scores(genuine.repeat(weights), impostor).roc()
        assert weighed.thresholds.tolist() == repeated.thresholds.tolist()
        assert weighed.tar == pytest.approx(repeated.tar)
        assert weighed.eer() == pytest.approx(repeated.eer())


class TestReliability:
    confidence = np.array([0.05, 0.15, 0.95, 1.0])
    right = np.array([False, True, True, False])

    def test_by_hand(self) -> None:
        bins = reliability(self.confidence, self.right, np.array([1, 1, 1, 1]))
        assert [b.share for b in bins] == [0.25, 0.25, 0, 0, 0, 0, 0, 0, 0, 0.5]
        assert (bins[1].confidence, bins[1].right) == (0.15, 1)
        assert (bins[9].confidence, bins[9].right) == (0.975, 0.5)
        assert bins[5].confidence is None
        # 0.25 * 0.05 + 0.25 * 0.85 + 0.5 * 0.475
        assert calibration_error(bins) == pytest.approx(0.4625)

    def test_weights(self) -> None:
        bins = reliability(self.confidence, self.right, np.array([0, 0, 3, 1]))
        assert bins[9].right == 0.75
        assert calibration_error(bins) == pytest.approx(0.9625 - 0.75)

    def test_of_nothing(self) -> None:
        assert calibration_error(reliability(np.array([]), np.array([], bool), np.array([]))) == 0
        assert math.isnan(share(np.array([]), np.array([])))

    @given(st.integers(0, 1000))
    def test_what_is_told_truly_has_no_error(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        confidence = rng.random(4000)
        bins = reliability(confidence, rng.random(4000) < confidence, np.ones(4000))
        assert sum(b.share for b in bins) == pytest.approx(1)
        assert calibration_error(bins) < 0.06
