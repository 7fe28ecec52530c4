"""Open-set identification, against looking everybody up one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.evaluation.estimates import draws_of
from serving.evaluation.identification import Identification, confidence_of, identify
from serving.evaluation.lookups import ALL_BUT_ONE, Lookups, Trial, centroid_of, others_of, trials
from serving.evaluation.sample import Sample
from tests.support.samples import crowd, sample_of

NOBODY = np.empty((0, 24), np.float16)


def looked_up(sample: Sample, distractors: object = NOBODY, splits: int = 3) -> list[Trial]:
    return trials(sample, np.asarray(distractors), splits, np.random.default_rng(0))


def measured(trial: Trial, people: int, threshold: float = 0.5) -> Identification:
    draws = draws_of(people, 50, np.random.default_rng(0))
    return identify(trial, lambda n: threshold, draws)[0]


def lookups(best: list[float], right: list[bool], people: int = 10) -> Lookups:
    n = len(best)
    return Lookups(np.arange(n), np.arange(n), np.array(best), np.array(right), np.full(n, people))


class TestByHand:
    trial = Trial(
        1,
        known=lookups([0.9, 0.8, 0.7, 0.6], [True, True, False, True]),
        unknown=lookups([0.75, 0.4, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, -np.inf], [False] * 10),
    )

    def test_rates(self) -> None:
        found = measured(self.trial, 10, threshold=0.65)
        assert found.rank1.value == 0.75
        assert found.identification_rate.value == 0.5  # 0.9 and 0.8; 0.7 is somebody else
        assert found.fpir.value == 0.1
        # One of ten may be named: down to just above 0.4, so 0.6 is named too.
        assert found.dir_at_fpir[0.1].value == 0.75
        assert found.dir_at_fpir[0.01].value is None
        assert found.unknown_photos == 10

    def test_the_threshold_may_depend_on_the_size(self) -> None:
        sizes = []

        def rule(people: int) -> float:
            sizes.append(people)
            return 0.85

        draws = draws_of(10, 20, np.random.default_rng(0))
        found, _ = identify(self.trial, rule, draws)
        assert found.identification_rate.value == 0.25
        assert set(sizes) == {10}

    def test_reliability_counts_known_and_unknown_half(self) -> None:
        draws = draws_of(10, 20, np.random.default_rng(0))
        found = confidence_of([self.trial], lambda cosine, people: 0.5, draws)
        assert found.lookups == 13  # without the photo without a face
        # Of the half that is known three quarters are right; of the unknown 9 of 10 have a face.
        right = 0.5 * 0.75 / (0.5 + 0.5 * 0.9)
        assert found.reliability[5].right == pytest.approx(right)
        assert found.calibration_error.value == pytest.approx(0.5 - right)


def test_the_others_of_a_photo() -> None:
    rows = np.array([[1, 0], [0, 1], [0, 0], [0.6, 0.8], [0, 0], [1, 0]], np.float32)
    found = others_of(rows, np.array([0, 0, 0, 1, 1, 2]))
    half = np.sqrt(0.5)
    wanted = [[0, 1], [1, 0], [half, half], [0, 0], [0.6, 0.8], [0, 0]]
    assert found == pytest.approx(np.array(wanted))


class TestSplits:
    @settings(max_examples=20)
    @given(st.integers(0, 10**6), st.integers(2, 8), st.integers(1, 5), st.booleans())
    def test_each_lookup_is_that_of_comparing_one_by_one(
        self, seed: int, people: int, photos: int, others: bool
    ) -> None:
        sample = crowd(people, photos, spread=1.0, seed=seed)
        distractors = crowd(6, 1, seed=seed + 1).vectors if others else NOBODY
        for trial in looked_up(sample, distractors, splits=1):
            known = set(trial.known.person.tolist())
            assert not known & set(trial.unknown.person.tolist())
            if trial.enrolled != ALL_BUT_ONE:
                assert len(trial.known) == len(known) * (photos - trial.enrolled)
                enrolled = set(range(people * photos)) - {
                    *trial.known.photo.tolist(),
                    *trial.unknown.photo.tolist(),
                }
            else:
                assert len(trial.known) == len(known) * photos
                enrolled = {p for p in range(people * photos) if sample.person[p] in known}
            for told in (trial.known, trial.unknown):
                for n, photo in enumerate(told.photo.tolist()):
                    vector = sample.vectors[photo]
                    scores = {}
                    for who in known:
                        rows = [
                            p for p in sorted(enrolled) if sample.person[p] == who and p != photo
                        ]
                        scores[who] = float(vector @ centroid_of(sample.vectors[rows]))
                    strange = [float(vector @ d) for d in distractors.astype(np.float32)]
                    best = max([*scores.values(), *strange])
                    assert told.best[n] == pytest.approx(best, abs=1e-3)
                    own = scores.get(int(sample.person[photo]), -2.0)
                    if abs(sorted([*scores.values(), *strange, -2])[-2] - best) > 1e-3:
                        assert bool(told.right[n]) == (own == pytest.approx(best, abs=1e-3))
                    assert told.people[n] == len(known) + len(distractors)

    def test_half_of_the_people_are_known(self) -> None:
        trial = looked_up(crowd(9, 4), splits=20)[0]
        assert trial.enrolled == 1
        assert len(trial.unknown) == 20 * 5 * 4
        assert set(trial.unknown.person.tolist()) == set(range(9))

    def test_who_has_too_few_photos_is_never_known(self) -> None:
        rows = crowd(4, 4).vectors[:10]
        one, three, rest = looked_up(sample_of(rows, [0, 0, 0, 0, 1, 1, 1, 1, 2, 3]), splits=10)
        for trial in (one, three, rest):
            assert set(trial.known.person.tolist()) == {0, 1}
        assert (one.enrolled, three.enrolled, rest.enrolled) == (1, 3, ALL_BUT_ONE)

    def test_nobody_has_enough_photos(self) -> None:
        assert [t.enrolled for t in looked_up(crowd(4, 2))] == [1, ALL_BUT_ONE]
        assert looked_up(crowd(4, 1)) == []

    def test_a_photo_without_a_face_finds_nobody_and_enrols_nobody(self) -> None:
        rows = crowd(2, 2).vectors
        sample = sample_of(rows, [0, 0, 1, 1], missing=[0, 2])
        one, rest = looked_up(sample, splits=10)
        # Either the probe or what is enrolled has no face; nobody is found, and nobody is right.
        assert not one.known.right.any()
        assert np.isinf(one.known.best).all()
        assert not rest.known.right.any()
        assert measured(one, 2, threshold=-1).identification_rate.value == 0

    def test_the_nearest_distractor_takes_the_answer(self) -> None:
        sample = crowd(4, 3, spread=0.5)
        trial = looked_up(sample, sample.vectors, splits=2)[0]  # each photo itself is in it
        assert not trial.known.right.any()
        assert trial.unknown.best == pytest.approx(np.ones(len(trial.unknown)), abs=1e-3)
        assert trial.known.people[0] == 2 + 12

    def test_the_same_seed_is_the_same_division(self) -> None:
        first, second = (looked_up(crowd(8, 3))[0] for _ in range(2))
        assert first.known.photo.tolist() == second.known.photo.tolist()
