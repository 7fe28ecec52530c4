"""Open-set identification, against looking everybody up one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.evaluation.estimates import draws_of
from serving.evaluation.identification import (
    Ambiguity,
    Answers,
    Identification,
    answers_to,
    confidence_of,
    identify,
)
from serving.evaluation.lookups import (
    ALL_BUT_ONE,
    Lookups,
    Trial,
    _nearest_of,
    _split,
    centroid_of,
    others_of,
    trials,
)
from serving.evaluation.sample import Sample
from serving.matching.ambiguity import as_likely
from serving.matching.records import Candidate
from tests.support.samples import crowd, sample_of
from tests.support.stages import CARD

NOBODY = np.empty((0, 24), np.float16)


def looked_up(sample: Sample, distractors: object = NOBODY, splits: int = 3) -> list[Trial]:
    return trials(sample, np.asarray(distractors), splits, np.random.default_rng(0))


def measured(trial: Trial, people: int, threshold: float = 0.5) -> Identification:
    draws = draws_of(people, 50, np.random.default_rng(0))
    return identify(trial, lambda n: threshold, draws)[0]


def lookups(
    best: list[float],
    right: list[bool],
    people: int = 10,
    second: list[float] | None = None,
    mate: list[float] | None = None,
    rank: list[int] | None = None,
) -> Lookups:
    n = len(best)
    own = [b if r else -np.inf for b, r in zip(best, right, strict=True)]
    return Lookups(
        np.arange(n),
        np.arange(n),
        np.array(best),
        np.array(right),
        np.full(n, people),
        np.array(second or [-np.inf] * n),
        np.array(mate or own),
        np.array(rank or [int(r) for r in right]),
    )


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
        assert found.dir_at_fpir[0.1].value is None  # ten photos do not show it
        assert found.dir_at_fpir[0.01].value is None
        assert found.unknown_photos == 10
        assert (found.fnir.value, found.fnir.errors, found.fnir.lookups) == (0.5, 2, 4)
        assert (found.fpir.errors, found.fpir.lookups, found.fpir.people) == (1, 10, 10)

    def test_every_lookup_has_one_kind_of_answer(self) -> None:
        found = measured(self.trial, 10, threshold=0.65)
        no = {"ambiguous_with": 0, "ambiguous_without": 0, "too_poor": 0}
        assert found.of_known == Answers(4, right=2, wrong=1, none=1, failed=0, **no)
        assert found.of_unknown == Answers(10, right=0, wrong=1, none=8, failed=1, **no)

    def test_what_so_few_strangers_can_show(self) -> None:
        """Rule of three: ten photos without an error show 30%."""
        found = measured(self.trial, 10)
        assert found.shown_from == found.shown_from_people == 0.3
        assert found.dir_at_fpir[0.003].note == "not shown: 10 of strangers, 1,000 needed"
        assert found.fnir_at_fpir[0.003].note == found.dir_at_fpir[0.003].note

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


def test_rates_at_a_wanted_fpir() -> None:
    """Of 40 strangers 4 may be named: down to just above 0.56."""
    scores = [0.9, 0.8, 0.7, 0.6, 0.55, *[0.1] * 35]
    trial = Trial(
        1,
        known=lookups([0.95, 0.65, 0.58, 0.5], [True] * 4),
        unknown=lookups(scores, [False] * 40),
    )
    found = measured(trial, 40)
    assert found.dir_at_fpir[0.1].value == 0.75  # 0.58, too, is above the fifth stranger
    assert found.fnir_at_fpir[0.1].value == 0.25
    assert found.fnir_at_fpir[0.1].note == "rough: rests on 4"
    assert found.fpir.value == 5 / 40


class TestAmbiguous:
    """As the service decides it: `serving.matching.ambiguity`."""

    def test_two_who_are_as_likely_have_no_name(self) -> None:
        trial = Trial(
            1,
            known=lookups(
                [0.9, 0.9, 0.9, 0.9], [True, True, False, True],
                second=[0.85, 0.5, 0.88, -np.inf], mate=[0.9, 0.9, 0.88, 0.9], rank=[1, 1, 2, 1],
            ),
            unknown=lookups([0.7, 0.7], [False, False], second=[0.65, 0.1]),
        )  # fmt: skip
        rule = Ambiguity(0.1, lambda people: 0.6)
        draws = draws_of(4, 20, np.random.default_rng(0))
        found, _ = identify(trial, lambda n: 0.6, draws, rule)
        assert found.of_known == Answers(4, 2, 0, 2, 0, 0, 0, 0)
        assert found.of_unknown == Answers(2, 0, 1, 0, 1, 0, 0, 0)
        assert found.ambiguous == 3
        assert found.fnir.value == 0.5
        assert found.fpir.value == 1  # a candidate was returned for both

        named = Ambiguity(0.1, lambda people: 0.6, named=True)
        found, _ = identify(trial, lambda n: 0.6, draws, named)
        assert found.of_known == Answers(4, 3, 1, 0, 0, 0, 0, 0)
        assert found.ambiguous == 3

    @settings(max_examples=200)
    @given(
        st.lists(st.floats(-0.2, 1), min_size=1, max_size=6, unique=True),
        st.floats(0.1, 0.9), st.floats(0, 0.4), st.integers(1, 10**6),
    )  # fmt: skip
    def test_it_is_what_the_service_says(
        self, cosines: list[float], threshold: float, margin: float, people: int
    ) -> None:
        ranked = sorted(cosines, reverse=True)
        candidates = [Candidate(n, None, c) for n, c in enumerate(ranked)]
        likely = as_likely(candidates, threshold, CARD, people, margin)
        second = ranked[1] if len(ranked) > 1 else -np.inf
        lookup = lookups([ranked[0]], [True], people, second=[second])
        told = answers_to(lookup, lambda n: threshold, Ambiguity(margin, CARD.even))
        assert bool(told.ambiguous[0]) == bool(likely)


def test_what_look_up_and_enrolment_do_not_take() -> None:
    """The service answers nobody for a face that is too poor, and does not enrol a refused one."""
    whole = crowd(4, 3, spread=0.3)
    poor = ["too-blurred" if n in (0, 5) else None for n in range(12)]
    refused = ["too-turned" if n in (0, 1, 2) else None for n in range(12)]
    sample = replace(whole, poor=poor, refused=refused)
    *_, rest = looked_up(sample, splits=20)
    assert np.isneginf(rest.known.best[np.isin(rest.known.photo, [0, 5])]).all()
    mine = rest.known.person == 0
    assert mine.any()
    assert not rest.known.right[mine].any()  # nothing of the person is enrolled
    assert (rest.known.rank[mine] == 0).all()
    told = answers_to(rest.known, lambda n: 0.5, None, sample)
    counts = told.counts()
    assert counts.too_poor == np.isin(rest.known.photo, [0, 5]).sum()
    assert counts.failed == 0
    assert counts.right + counts.wrong + counts.none + counts.too_poor == counts.lookups


def test_ranks_are_places_among_the_candidates() -> None:
    # Person 2 is nearest to the first photo, then a distractor, then person 1; its own are last.
    rows = [[1, 0, 0, 0], [0, 0, 0, 1], [0.8, 0.6, 0, 0], [0.9, 0.1, 0, 0]]
    sample = sample_of(rows, [0, 0, 1, 2])
    distractors = np.array([[0.95, 0, 0.3, 0], [0, 0, 0, -1]], np.float16)
    nearest = _nearest_of(sample.vectors, distractors)
    everybody = np.array([0, 1, 2])
    found, _ = _split(sample, everybody, ALL_BUT_ONE, nearest, 2, np.random.default_rng(0))
    probe = found.photo.tolist().index(0)
    assert found.mate[probe] == pytest.approx(0)
    # Both others and one distractor are before; the other one is as near, which counts against.
    assert found.rank[probe] == 5
    assert found.second[probe] == pytest.approx(0.95, abs=1e-3)


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
                    every = sorted([*scores.values(), *strange], reverse=True)
                    best = every[0]
                    if len(every) > 1:
                        assert told.second[n] == pytest.approx(every[1], abs=1e-3)
                    assert told.best[n] == pytest.approx(best, abs=1e-3)
                    own = scores.get(int(sample.person[photo]), -2.0)
                    if abs(sorted([*scores.values(), *strange, -2])[-2] - best) > 1e-3:
                        assert bool(told.right[n]) == (own == pytest.approx(best, abs=1e-3))
                    if told.rank[n]:
                        assert told.mate[n] == pytest.approx(own, abs=1e-3)
                        least, most = (sum(s > own + d for s in every) for d in (1e-3, -1e-3))
                        assert least + 1 <= told.rank[n] <= most + 1
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
