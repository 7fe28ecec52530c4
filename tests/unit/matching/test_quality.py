"""Faces that are too poor to say who they are: at look-up, in a comparison, in an enrolment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from serving.matching.quality import lookup_faults
from serving.model.degenerate import Degenerate
from serving.pipeline.reports import NoFaceInAny
from serving.pipeline.timings import Timings
from serving.pipeline.verification import compare
from serving.settings import EnrolmentSettings, LookupSettings
from tests.support.local_pipeline import LocalPipeline, run
from tests.support.stages import CARD, GOOD, faces, row_of

BOXES = ((0, 0, 90, 90), (0, 0, 80, 80))


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the model makes of crop 1 is what it makes of any face that shows nothing."""
    known = Degenerate(row_of(1))
    monkeypatch.setattr("serving.matching.quality.degenerate_of", {CARD.id: known}.get)


def gates(limits: LookupSettings) -> list[list[str]]:
    two = faces(*BOXES)
    poor = lookup_faults(two, row_of(0, 1), CARD, limits)
    return [[fault.gate for fault in of_face] for of_face in poor]


def test_a_face_is_judged_by_its_crop_and_by_its_embedding(blank: None) -> None:
    assert gates(LookupSettings()) == [[], ["uninformative"]]
    assert gates(LookupSettings(max_blankness=1)) == [[], []]
    assert gates(LookupSettings(min_side=85)) == [[], ["too-small", "uninformative"]]


def test_a_model_that_was_not_measured_is_not_judged() -> None:
    assert gates(LookupSettings()) == [[], []]


def test_no_face_needs_no_judgement(blank: None) -> None:
    assert lookup_faults(faces(), np.empty((0, 64), np.float32), CARD, LookupSettings()) == ()


def test_a_face_that_is_too_poor_has_no_candidates_whatever_the_threshold(blank: None) -> None:
    identified = LocalPipeline().identified(b"2", threshold=-1.0)
    assert [len(c) for c in identified.matches.candidates] == [1, 0]
    assert [person is None for person in identified.named] == [False, True]
    assert [[f.gate for f in of_face] for of_face in identified.faults] == [[], ["uninformative"]]
    assert identified.poor == 1


def test_the_limits_of_look_up_are_its_own() -> None:
    strict = LocalPipeline(lookup=LookupSettings(min_side=91))
    assert strict.identified(b"1").poor == 1
    assert [p.used for p in strict.enrolled(b"1").photos] == [True]


def test_two_photos_are_not_compared_where_one_is_too_poor() -> None:
    pipeline = LocalPipeline()
    images = {"image_a": b"1", "image_b": b"1"}
    good = run(compare(pipeline, images, LookupSettings(), Timings()))
    assert (good.sufficient, [list(f) for f in good.faults]) == (True, [[], []])
    poor = run(compare(pipeline, images, LookupSettings(min_tones=5.5), Timings()))
    assert not poor.sufficient
    assert [[f.gate for f in of_face] for of_face in poor.faults] == [["too-few-tones"]] * 2


def test_an_enrolment_leaves_out_faces_that_show_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Degenerate(row_of(0))
    monkeypatch.setattr("serving.matching.quality.degenerate_of", {CARD.id: known}.get)
    pipeline = LocalPipeline()
    with pytest.raises(NoFaceInAny) as caught:
        pipeline.enrolled(b"1", b"0", b"1")
    assert [p.gate for p in caught.value.photos] == ["uninformative", None, "uninformative"]
    assert not pipeline.stages.enrolments
    assert [p.used for p in pipeline.enrolled(b"1", force=True).photos] == [True]
    lenient = LocalPipeline(EnrolmentSettings(max_blankness=1))
    assert [p.used for p in lenient.enrolled(b"1").photos] == [True]


def test_the_others_of_an_enrolment_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    # The faces of all photos are alike here: the second of three shows nothing.
    monkeypatch.setattr(
        "serving.pipeline.enrolment.uninformative",
        lambda vectors, card, limits: [False, True, False],
    )
    pipeline = LocalPipeline()
    report = pipeline.enrolled(b"1", b"0", b"1", b"1")
    assert [p.gate for p in report.photos] == [None, None, "uninformative", None]
    assert [p.used for p in report.photos] == [True, False, False, True]
    assert len(pipeline.stages.enrolments[0].embeddings) == 2


def test_measures_are_those_of_the_face_not_of_its_place() -> None:
    assert faces(*BOXES).quality == (GOOD, replace(GOOD, side=80.0))
