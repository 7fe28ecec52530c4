"""Thresholds for naming: the caller's, the settings', the gallery size's, the card's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import Unavailable
from serving.matching.records import Candidate
from serving.matching.threshold import (
    named,
    pair_threshold_of,
    threshold_of,
    threshold_problem,
)
from serving.model.impostors import Impostors
from serving.settings import MatchSettings
from tests.support.api import Api
from tests.support.stages import CARD

AUTO = MatchSettings(threshold="auto")
IMPOSTORS = Impostors(mean=0.02, dimensions=50, measured_on="nobody")
MEASURED = CARD.model_copy(update={"impostors": IMPOSTORS})


@pytest.mark.parametrize(("similarity", "is_named"), [(1 - 2e-7, True), (0.9999, False)])
def test_a_photo_is_like_itself_at_the_highest_threshold(similarity: float, is_named: bool) -> None:
    candidate = Candidate(7, "Ada", similarity)
    assert (named([candidate], 1.0) is candidate) is is_named


def test_the_caller_comes_first() -> None:
    assert threshold_of(0.0, MatchSettings(threshold=0.7), MEASURED, 5) == 0
    assert threshold_of(-1.0, AUTO, CARD, 5) == -1


def test_then_the_settings_then_the_card() -> None:
    assert threshold_of(None, MatchSettings(threshold=0.0), MEASURED, 5) == 0
    assert threshold_of(None, MatchSettings(threshold=0.7), MEASURED, 5) == 0.7
    assert threshold_of(None, MatchSettings(), CARD, 5) == CARD.threshold


@given(st.integers(0, 10**7), st.floats(0.0001, 0.5))
def test_without_a_setting_it_is_auto(people: int, fpir: float) -> None:
    chosen = threshold_of(None, MatchSettings(fpir=fpir), MEASURED, people)
    assert chosen == threshold_of(
        None, MatchSettings(threshold="auto", fpir=fpir), MEASURED, people
    )


def test_auto_follows_the_size_of_the_gallery() -> None:
    found = [threshold_of(None, AUTO, MEASURED, n) for n in (0, 1, 100, 10_000, 1_000_000)]
    assert found[0] == found[1]
    assert found[1:] == sorted(set(found[1:]))
    assert found[3] == IMPOSTORS.threshold(10_000, 0.01)


def test_auto_follows_the_wanted_rate() -> None:
    strict = MatchSettings(threshold="auto", fpir=0.001)
    assert threshold_of(None, strict, MEASURED, 100) > threshold_of(None, AUTO, MEASURED, 100)


def test_auto_is_refused_when_nothing_is_known_of_strangers() -> None:
    with pytest.raises(Unavailable, match="faces calibrate"):
        threshold_of(None, AUTO, CARD, 5)
    assert threshold_problem(AUTO, MEASURED) is None
    assert threshold_problem(MatchSettings(), CARD) is None
    assert "faces calibrate" in str(threshold_problem(AUTO, CARD))


def test_the_best_candidate_is_named_from_the_threshold_on() -> None:
    ada, eve = Candidate(7, "Ada", 0.75), Candidate(8, "Eve", 0.7)
    assert named([ada, eve], 0.75) is ada
    assert named([ada, eve], 0.7500001) is None
    assert named([ada, eve], -1) is ada
    assert named([], -1) is None


def test_a_face_that_is_like_two_who_are_two_has_to_reach_their_threshold() -> None:
    ada = Candidate(7, "Ada", 0.75, rivals=((0.7, 0.8), (0.1, 0.9)))
    assert named([ada], 0.6) is None
    assert named([ada], 0.71) is ada  # the other is far enough away
    assert named([Candidate(7, "Ada", 0.8, ada.rivals)], 0.6) is not None
    assert named([ada], -1) is None
    assert named([Candidate(7, "Ada", 0.9, ada.rivals)], -1) is not None


def test_two_photos_have_the_callers_threshold_the_settings_or_the_cards() -> None:
    settings = MatchSettings(verify_threshold=0.0)
    assert pair_threshold_of(-0.5, settings, CARD) == -0.5
    assert pair_threshold_of(0.0, MatchSettings(verify_threshold=0.9), CARD) == 0.0
    assert pair_threshold_of(None, settings, CARD) == 0.0
    assert pair_threshold_of(None, MatchSettings(), CARD) == CARD.pairs.threshold


class TestApi:
    """The card of the fake pipeline says nothing of strangers."""

    def test_it_names_nobody_and_is_not_ready(self) -> None:
        api = Api(threshold="auto")
        body = {"image": "QUJD"}
        assert api.request("POST", "/infer", json=body).status_code == 503
        ready = api.get("/readyz")
        assert ready.status_code == 503
        assert "faces calibrate" in ready.json()["checks"]["triton"]
        answer = api.request("POST", "/infer", json=body | {"threshold": 0.9}).json()
        assert (answer["threshold"], answer["faces"][0]["id"]) == (0.9, None)

    def test_the_answer_holds_the_threshold(self) -> None:
        answer = Api().request("POST", "/infer", json={"image": "QUJD"}).json()
        assert answer["threshold"] == CARD.threshold
