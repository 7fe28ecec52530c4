"""Pairs of photos: which there are, and what is measured of them."""

from __future__ import annotations

import numpy as np
import pytest

from serving.evaluation.estimates import draws_of
from serving.evaluation.sample import Sample
from serving.evaluation.verification import Verification, pairs_of, verify
from tests.support.samples import crowd, sample_of
from tests.support.stages import CARD


def measured(sample: Sample) -> Verification:
    rng = np.random.default_rng(0)
    draws = draws_of(len(sample.ids), 100, rng)
    return verify(sample, pairs_of(sample, rng), CARD, draws, rng)[0]


def test_every_pair_once() -> None:
    pairs = pairs_of(sample_of(np.eye(5), [3, 3, 7, 7, 7]), np.random.default_rng(0))
    assert sorted(map(tuple, pairs.genuine.tolist())) == [(0, 1), (2, 3), (2, 4), (3, 4)]
    assert sorted(map(tuple, pairs.impostor.tolist())) == [
        (a, b) for a in (0, 1) for b in (2, 3, 4)
    ]
    assert pairs.impostors == 6


def test_scores_are_cosines_and_missing_faces_have_none() -> None:
    rows = [[1, 0], [3, 4], [0, 1], [1, 1]]
    pairs = pairs_of(sample_of(rows, [1, 1, 2, 2], missing=[3]), np.random.default_rng(0))
    assert pairs.genuine_scores.tolist() == [pytest.approx(0.6), -np.inf]
    scores = dict(zip(map(tuple, pairs.impostor.tolist()), pairs.impostor_scores, strict=True))
    assert scores[(0, 2)] == pytest.approx(0)
    assert scores[(1, 2)] == pytest.approx(0.8)
    assert scores[(0, 3)] == -np.inf


def test_of_too_many_pairs_some_are_drawn() -> None:
    sample = crowd(30, 4)
    pairs = pairs_of(sample, np.random.default_rng(0), most=100)
    assert len(pairs.genuine) == len(pairs.impostor) == 100
    assert pairs.impostors == 120 * 119 // 2 - 30 * 6
    assert len({tuple(p) for p in pairs.impostor.tolist()}) == 100
    a, b = sample.person[pairs.impostor].T
    assert (a != b).all()
    again = pairs_of(sample, np.random.default_rng(0), most=100)
    assert (again.impostor == pairs.impostor).all()


def test_people_who_are_told_apart() -> None:
    found = measured(crowd(20, 4, spread=0.05, dimension=64))
    assert found.accuracy.value == 1
    assert found.eer.value == 0
    assert found.tar_at_far[0.01].value == 1
    assert found.tar_at_far[0.0001].value is None
    assert (found.far.value, found.tar.value) == (0, 1)


def test_photos_that_say_nothing() -> None:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((120, 32))
    found = measured(sample_of(rows, np.arange(40).repeat(3).tolist()))
    assert found.accuracy.value == pytest.approx(0.5, abs=0.1)
    assert found.eer.value == pytest.approx(0.5, abs=0.1)


def test_the_threshold_is_not_chosen_on_the_people_it_is_tried_on() -> None:
    """Each pair of people, who are told apart only by a threshold of their own."""
    rows, person = [], []
    for n in range(8):
        # One person at the angle of the pair, the other a little farther on: the cosine of two
        # photos of one person is that of two people in the next pair.
        for who in range(2):
            for photo in range(2):
                row = np.zeros(16)
                angle = 0.1 * (n + 1) * (who * 2 + photo)
                row[2 * n], row[2 * n + 1] = np.cos(angle), np.sin(angle)
                rows.append(row)
                person.append(2 * n + who)
    found = measured(sample_of(rows, person))
    assert found.accuracy.value is not None
    assert found.accuracy.value < 1


def test_missing_faces_are_rejections_and_no_acceptances() -> None:
    whole = crowd(20, 4, spread=0.05, dimension=64)
    missing = list(range(0, 80, 4))  # one photo of everybody
    found = measured(sample_of(whole.vectors, whole.person.tolist(), missing=missing))
    assert found.tar.value == 0.5  # 3 of 6 pairs of everybody
    assert found.tar_at_far[0.01].value == 0.5
    assert found.accuracy.value == 0.75
    assert found.far.value == 0


def test_few_people() -> None:
    found = measured(crowd(3, 3))
    assert found.accuracy.note == "too few people: 4 are needed"
    assert found.eer.value is not None
