"""APCER, BPCER and non-responses, by cases that were computed by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from serving.evaluation.presentation_attacks import (
    SCHEMA,
    OperatingPoint,
    Presentation,
    Proportion,
    measure,
)


def by_score(*scores: float | None, threshold: float = 0.5) -> list[Presentation]:
    """Each of a source of its own; None: there was no face."""
    return [
        Presentation(n, None if score is None else score >= threshold, score)
        for n, score in enumerate(scores)
    ]


def verdicts(live: list[bool], photos_of_one: int = 1) -> list[Presentation]:
    """Without scores; ``photos_of_one`` in a row are of one source."""
    return [Presentation(n // photos_of_one, verdict) for n, verdict in enumerate(live)]


REAL = by_score(0.9, 0.8, 0.4, 0.95)
POINTS = ["BPCER100", "BPCER20", "BPCER10", "BPCER5"]


def counts(share: Proportion) -> tuple[int, int, int]:
    return share.errors, share.presentations, share.sources


def test_each_species_and_the_people() -> None:
    attacks = {"print": by_score(0.1, 0.6, 0.2, 0.3), "screen": by_score(0.7, 0.8, 0.1)}
    report = measure(REAL, attacks)
    assert report.species["print"].apcer.value == 1 / 4
    assert report.species["screen"].apcer.value == 2 / 3
    assert counts(report.attacks.apcer) == (3, 7, 7)
    assert counts(report.bona_fide.bpcer) == (1, 4, 4)
    assert report.threshold is None


def test_the_highest_counts_and_not_the_mean() -> None:
    """A hundred prints that are found out do not hide the one screen that is not."""
    report = measure(REAL, {"screen": by_score(0.6), "print": by_score(*[0.1] * 100)})
    assert report.worst_species == "screen"
    assert report.species["screen"].apcer.value == 1
    assert report.attacks.apcer.value == pytest.approx(1 / 101)


def test_of_equal_ones_the_worst_is_the_one_of_which_least_is_known() -> None:
    attacks = {"a": by_score(*[0.1] * 9), "b": by_score(*[0.1] * 3), "c": by_score(*[0.1] * 9)}
    assert measure(REAL, attacks).worst_species == "b"
    assert measure(REAL, {n: attacks[n] for n in "ca"}).worst_species == "a"


def test_intervals_of_independent_presentations_are_exact() -> None:
    report = measure(verdicts([True] * 196 + [False] * 4), {"print": verdicts([False] * 50)})
    exact = binomtest(4, 200).proportion_ci(method="exact")
    assert report.bona_fide.bpcer.low == pytest.approx(exact.low, rel=0.02)
    assert report.bona_fide.bpcer.high == pytest.approx(exact.high, rel=0.02)


def test_a_hundred_photos_of_two_prints_are_two_trials() -> None:
    report = measure(REAL, {"print": verdicts([False] * 100, photos_of_one=50)})
    apcer = report.species["print"].apcer
    assert counts(apcer) == (0, 100, 2)
    assert apcer.high == pytest.approx(1 - 0.025**0.5)
    assert apcer.shown_from == apcer.high


def test_what_so_few_could_show_is_said_beside_errors_too() -> None:
    apcer = measure(REAL, {"print": by_score(*[0.1] * 8, 0.9)}).species["print"].apcer
    assert apcer.high == pytest.approx(binomtest(1, 9).proportion_ci(method="exact").high)
    assert apcer.shown_from == pytest.approx(1 - 0.025 ** (1 / 9))


def test_sources_of_two_species_are_two() -> None:
    attacks = {"print": verdicts([False] * 4, 2), "screen": verdicts([False] * 4, 2)}
    report = measure(verdicts([True]), attacks)
    assert counts(report.attacks.apcer) == (0, 8, 4)
    assert counts(report.attacks.apnrr) == (0, 8, 4)


def test_photos_without_a_face_are_in_no_denominator_of_errors() -> None:
    report = measure(by_score(0.9, None, 0.2), {"print": by_score(0.1, None, None, 0.9, None, 0.2)})
    assert counts(report.species["print"].apcer) == (1, 3, 3)
    assert report.species["print"].apnrr.value == 3 / 6
    assert counts(report.bona_fide.bpcer) == (1, 2, 2)
    assert report.bona_fide.bpnrr.value == 1 / 3


def test_a_species_without_a_face_is_not_the_best_one() -> None:
    report = measure(REAL, {"mask": by_score(None, None), "print": by_score(0.1)})
    assert report.species["mask"].apcer == Proportion(None, note="no response")
    assert report.species["mask"].apnrr.value == 1
    assert report.worst_species == "print"
    assert report.operating_points is not None
    assert {point.species for point in report.operating_points} == {"print"}


def test_no_attacks() -> None:
    report = measure(REAL, {})
    assert report.attacks.apcer == Proportion(None, note="no response")
    assert report.attacks.apnrr == Proportion(None, note="no presentation")
    assert (report.worst_species, report.operating_points) == (None, [])
    assert report.bona_fide.bpcer.value == 1 / 4


def test_another_threshold() -> None:
    attacks = {"print": by_score(0.1, 0.6, 0.2, None)}
    report = measure(REAL, attacks, 0.2)
    assert report.threshold == 0.2
    assert counts(report.species["print"].apcer) == (2, 3, 3)  # 0.2 itself is live
    assert report.species["print"].apnrr.value == 1 / 4
    assert report.bona_fide.bpcer.value == 0
    assert measure(REAL, attacks, 0.85).bona_fide.bpcer.value == 2 / 4


def test_without_scores_there_is_the_verdict_alone() -> None:
    attacks = {"print": by_score(0.1, 0.6)}
    unknown = [*REAL, Presentation(9, True)]
    report = measure(unknown, attacks)
    assert report.operating_points is None
    assert counts(report.bona_fide.bpcer) == (1, 5, 5)
    with pytest.raises(ValueError, match="scores"):
        measure(unknown, attacks, 0.5)


class TestOperatingPoints:
    # A threshold above 0.19 x, x = 1 to 20, leaves 20 - x of the 20 prints.
    PRINTS = by_score(*(round(0.01 * n, 2) for n in range(1, 21)))
    PEOPLE = by_score(0.1601, 0.18, 0.19, 0.2, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)

    def points(self, **attacks: list[Presentation]) -> list[OperatingPoint]:
        found = measure(self.PEOPLE, attacks).operating_points
        assert found is not None
        assert [point.name for point in found] == POINTS
        return found

    def test_the_lowest_threshold_within_each_limit(self) -> None:
        points = self.points(print=self.PRINTS)
        assert [p.threshold for p in points] == [0.20005, 0.19005, 0.18005, 0.16005]
        assert [p.apcer and p.apcer.value for p in points] == [0, 0.05, 0.1, 0.2]
        assert [p.bpcer and p.bpcer.value for p in points] == [0.4, 0.3, 0.2, 0]

    def test_each_species_has_to_be_within(self) -> None:
        screens = by_score(0.05, 0.3, 0.05, 0.05)
        points = self.points(screen=screens, print=self.PRINTS)
        # A quarter of the screens is more than a fifth.
        assert [p.threshold for p in points] == [0.30005] * 4
        # Neither has an error there; four screens show the least.
        assert {p.species for p in points} == {"screen"}

    def test_what_the_photos_do_not_show(self) -> None:
        """A fifth of the prints is live there, and no screen; but three screens show no fifth."""
        points = self.points(print=self.PRINTS, screen=by_score(0.01, 0.02, 0.03))
        bpcer5 = points[-1]
        assert (bpcer5.species, bpcer5.apcer_at_most) == ("print", 0.2)
        assert bpcer5.apcer_upper_bound == pytest.approx(1 - 0.025 ** (1 / 3))

    def test_attacks_that_no_threshold_refuses(self) -> None:
        points = self.points(print=by_score(*[0.1] * 17, 1.0, 1.0, 1.0))
        assert [p.threshold for p in points] == [None, None, None, 0.10005]
        assert points[0] == OperatingPoint("BPCER100", 0.01)

    def test_rounded_scores_are_divided_as_the_others_were(self) -> None:
        """An answer of 0.2 may stand for 0.20004, and one of 0.2001 for 0.20006."""
        attack, real = 0.20004, 0.20006
        found = measure(by_score(round(real, 4)), {"print": by_score(round(attack, 4))})
        assert found.operating_points is not None
        threshold = found.operating_points[0].threshold
        assert threshold is not None
        assert attack < threshold < real

    def test_they_are_those_of_measuring_at_the_threshold(self) -> None:
        rng = np.random.default_rng(5)

        def drawn(count: int, mean: float) -> list[Presentation]:
            scores = np.clip(rng.normal(mean, 0.2, count), 0, 1).round(4).tolist()
            return [Presentation(n // 3, s >= 0.5, s) for n, s in enumerate(scores)]

        real, attacks = drawn(90, 0.8), {"print": drawn(150, 0.2), "screen": drawn(60, 0.4)}
        points = measure(real, attacks).operating_points
        assert points is not None
        for point in points:
            assert point.threshold is not None
            at = measure(real, attacks, point.threshold)
            assert (at.worst_species, at.bona_fide.bpcer) == (point.species, point.bpcer)
            assert at.species[at.worst_species or ""].apcer == point.apcer
            highest = [rates.apcer.value or 0 for rates in at.species.values()]
            assert max(highest) <= point.apcer_at_most
            # One attack lower there are more.
            below = measure(real, attacks, round(point.threshold - 0.0001, 5))
            assert max(r.apcer.value or 0 for r in below.species.values()) > point.apcer_at_most


def test_json() -> None:
    report = measure(REAL, {"print": by_score(0.1, 0.6, None)}).to_json()
    body = json.loads(json.dumps(report))
    assert body["schema"] == SCHEMA
    assert set(body) == {
        *("schema", "threshold", "species", "attacks", "bona_fide", "worst_species"),
        "operating_points",
    }
    assert set(body["species"]["print"]["apcer"]) == {
        *("value", "low", "high", "note", "errors", "presentations", "sources", "shown_from"),
    }
    assert body["species"]["print"]["apcer"]["value"] == 0.5
    assert [point["name"] for point in body["operating_points"]] == POINTS
