"""Who is as likely as the nearest, and who is not."""

from __future__ import annotations

import pytest

from serving.matching.ambiguity import as_likely, margin_of
from serving.matching.records import Candidate
from serving.matching.threshold import named
from serving.model.card import Calibration, Margin
from serving.model.impostors import Impostors
from serving.settings import MatchSettings
from tests.support.stages import CARD

IMPOSTORS = Impostors(mean=0, dimensions=40, measured_on="nobody")
MEASURED = CARD.model_copy(
    update={
        "margin": Margin(cosine=0.14, measured_on="nobody"),
        # Even at a cosine of 0.6 among 1,000.
        "calibration": Calibration(slope=30, intercept=-18, gallery=1000, measured_on="nobody"),
        "impostors": IMPOSTORS,
    }
)


def ids(
    *similarities: float, threshold: float = 0.63, people: int = 1000, margin: float | None = 0.14
) -> list[int]:
    candidates = [Candidate(n, None, s) for n, s in enumerate(similarities, 1)]
    return [c.id for c in as_likely(candidates, threshold, MEASURED, people, margin)]


@pytest.mark.parametrize(
    ("similarities", "likely"),
    [
        ((0.80, 0.79), [1, 2]),
        ((0.80, 0.70, 0.67, 0.65), [1, 2, 3]),
        ((0.80, 0.80), [1, 2]),
        ((0.80,) * 9, [1, 2, 3, 4]),
        ((1.0, 1.0), [1, 2]),
        ((0.80, 0.65), []),
        ((0.64, 0.61), [1, 2]),  # below the threshold, but more likely than not
        ((0.64, 0.59), []),
        ((0.80,), []),
        ((), []),
    ],
)
def test_whoever_is_nearly_as_similar(similarities: tuple[float, ...], likely: list[int]) -> None:
    assert ids(*similarities) == likely


def test_a_stranger_is_unknown_whoever_is_near() -> None:
    assert ids(0.62, 0.62) == []


def test_who_is_like_two_known_to_be_two_people_has_both_and_no_name() -> None:
    both = [Candidate(7, None, 0.75, rivals=((0.74, 0.9),)), Candidate(8, None, 0.74)]
    assert named(both, 0.63) is None
    assert as_likely(both, 0.63, MEASURED, 1000, 0.14) == tuple(both)


def test_without_a_margin_only_who_is_as_similar() -> None:
    assert ids(0.80, 0.80, 0.7999, margin=0) == [1, 2]


def test_in_a_large_gallery_a_second_one_has_to_be_more_similar() -> None:
    """As the best of many strangers is: they make no more faces ambiguous than in a small one."""
    small, large = (IMPOSTORS.threshold(n, 0.01) for n in (100, 1_000_000))
    assert ids(large + 0.02, 0.63, threshold=large, people=1_000_000) == []
    assert ids(large + 0.02, large, threshold=large, people=1_000_000) == [1, 2]
    assert ids(small + 0.02, small, threshold=small, people=100) == [1, 2]


def test_below_a_threshold_that_was_set_lower_nobody_is_as_likely() -> None:
    assert ids(0.40, 0.31, threshold=0.3) == [1, 2]
    assert ids(0.40, 0.29, threshold=0.3) == []


def test_the_margin_is_that_of_the_settings_or_of_the_card() -> None:
    assert margin_of(MatchSettings(), MEASURED) == 0.14
    assert margin_of(MatchSettings(ambiguous_margin=0.0), MEASURED) == 0
    assert margin_of(MatchSettings(ambiguous_margin=0.2), CARD) == 0.2


def test_a_card_without_a_margin_knows_no_doubt() -> None:
    candidates = [Candidate(n, None, 0.8) for n in (1, 2)]
    margin = margin_of(MatchSettings(), CARD)
    assert as_likely(candidates, 0.6, CARD, 1000, margin) == ()
