"""Enrolment: which photos are used, what one bad photo does to the others, conflicts."""

from __future__ import annotations

import numpy as np
import pytest

from serving.errors import NoUsableFace, Overloaded, TooLarge, Unavailable, UnsupportedImage
from serving.matching.records import (
    Enrolled,
)
from serving.pipeline.reports import ConflictsRefused, NoFaceInAny
from serving.settings import EnrolmentSettings
from tests.support.local_pipeline import CONFLICT, LocalPipeline
from tests.support.stages import CARD, row_of


@pytest.fixture
def pipeline() -> LocalPipeline:
    return LocalPipeline()


class TestEnrol:
    def test_the_largest_face_of_each_photo_in_order(self, pipeline: LocalPipeline) -> None:
        report = pipeline.enrolled(b"1", b"3", name="Ada", append=True)
        (person,) = pipeline.stages.enrolments
        assert (person.id, person.name, person.append) == (7, "Ada", True)
        assert np.array_equal(person.embeddings, row_of(0, 0))
        assert [(p.faces, p.reason) for p in report.photos] == [(1, None), (3, None)]
        assert [len(p.face) for p in report.photos if p.face is not None] == [1, 1]
        assert report.enrolled == Enrolled("Ada", 2, 4)

    def test_a_bad_photo_is_reported_and_the_others_are_enrolled(self) -> None:
        pipeline = LocalPipeline(max_image_bytes=3)
        pipeline.stages.failures = {b"x": UnsupportedImage("No image."), b"y": TooLarge("Huge.")}
        report = pipeline.enrolled(b"x", b"1", b"y", b"0", b"1111")
        reasons = [p.reason for p in report.photos]
        assert reasons[:4] == ["No image.", None, "Huge.", "No face was found."]
        assert "larger" in str(reasons[4])
        assert [p.face is not None for p in report.photos] == [False, True, False, False, False]
        assert sorted(pipeline.seen) == [
            ("faces", 1),
            ("no-face", 0),
            ("too-large", 0),
            ("too-large", 0),
            ("unsupported-image", 0),
        ]
        (person,) = pipeline.stages.enrolments
        assert len(person.embeddings) == 1

    def test_a_photo_that_has_to_show_one_face_alone(self, pipeline: LocalPipeline) -> None:
        with pytest.raises(NoFaceInAny) as caught:
            pipeline.enrolled(b"2", only_face=0.0)
        (photo,) = caught.value.photos
        assert (photo.faces, photo.gate) == (2, "several-faces")
        assert not pipeline.stages.enrolments
        # Of the two, 0.99 and 0.95.
        report = pipeline.enrolled(b"2", only_face=0.97)
        assert [(p.faces, p.used) for p in report.photos] == [(1, True)]
        with pytest.raises(NoFaceInAny) as caught:
            pipeline.enrolled(b"2", only_face=1.0)
        assert [p.reason for p in caught.value.photos] == ["No face was found."]

    def test_a_person_may_be_meant_by_the_name(self, pipeline: LocalPipeline) -> None:
        pipeline.enrolled(b"1", person=None, name="Ada", append=True)
        (enrolment,) = pipeline.stages.enrolments
        assert (enrolment.by_name, enrolment.name) == (True, "Ada")

    def test_without_a_usable_photo_nothing_is_written(self, pipeline: LocalPipeline) -> None:
        pipeline.stages.failures[b"x"] = UnsupportedImage("No image.")
        with pytest.raises(NoFaceInAny) as caught:
            pipeline.enrolled(b"0", b"x")
        assert isinstance(caught.value, NoUsableFace)
        assert [p.reason for p in caught.value.photos] == ["No face was found.", "No image."]
        assert not pipeline.stages.enrolments

    def test_overload_is_no_bad_photo_and_ends_the_other_photos(
        self, pipeline: LocalPipeline
    ) -> None:
        pipeline.stages.failures[b"2"] = Overloaded("Too many.")
        pipeline.stages.slow.add(b"1")
        with pytest.raises(Overloaded):
            pipeline.enrolled(b"1", b"2", b"1", b"1", b"1", b"1")
        assert pipeline.stages.at_once == 0
        assert set(pipeline.stages.cancelled) == {b"1"}
        assert not pipeline.stages.enrolments

    def test_a_large_enrolment_leaves_room_for_others(self, pipeline: LocalPipeline) -> None:
        report = pipeline.enrolled(*[b"1"] * 30)
        assert len(report.photos) == 30
        assert pipeline.stages.most_at_once == 4

    def test_a_face_that_is_not_good_enough_is_told_why(self) -> None:
        # The n-th face of a photo is 90 - n pixels wide.
        pipeline = LocalPipeline(EnrolmentSettings(min_side=91))
        with pytest.raises(NoFaceInAny) as caught:
            pipeline.enrolled(b"1", b"0")
        small, none = caught.value.photos
        assert (small.gate, small.used, small.faces) == ("too-small", False, 1)
        assert small.reason == "The face is too small: 90 pixels, and at least 91 are needed."
        assert small.face is not None
        assert (none.gate, none.reason) == (None, "No face was found.")
        assert not pipeline.stages.enrolments

    def test_the_others_are_enrolled_without_it(self) -> None:
        pipeline = LocalPipeline()
        pipeline.stages.turned.add(b"2")
        report = pipeline.enrolled(b"1", b"2", b"3")
        assert [p.gate for p in report.photos] == [None, "too-turned", None]
        assert len(pipeline.stages.enrolments[0].embeddings) == 2

    def test_force_opens_the_gates(self) -> None:
        pipeline = LocalPipeline(EnrolmentSettings(min_side=1000))
        report = pipeline.enrolled(b"1", force=True)
        assert [p.used for p in report.photos] == [True]

    def test_identification_has_no_gates(self) -> None:
        pipeline = LocalPipeline(EnrolmentSettings(min_side=1000))
        assert len(pipeline.identified(b"2").faces) == 2

    def test_conflicts_are_reported(self, pipeline: LocalPipeline) -> None:
        pipeline.stages.conflicts = (CONFLICT,)
        assert pipeline.enrolled(b"1").enrolled.conflicts == (CONFLICT,)
        (asked,) = pipeline.stages.enrolments
        assert (asked.refuse, asked.card) == (False, CARD)

    def test_conflicts_are_refused_by_the_setting(self) -> None:
        pipeline = LocalPipeline(EnrolmentSettings(conflicts="refuse"))
        assert pipeline.enrolled(b"1").enrolled.conflicts == ()
        pipeline.stages.conflicts = (CONFLICT,)
        with pytest.raises(ConflictsRefused, match="Nothing was written") as caught:
            pipeline.enrolled(b"0", b"1")
        assert caught.value.conflicts == (CONFLICT,)
        assert [p.used for p in caught.value.photos] == [False, True]
        assert pipeline.enrolled(b"1", force=True).enrolled.conflicts == (CONFLICT,)

    def test_a_failed_write_is_told(self, pipeline: LocalPipeline) -> None:
        pipeline.stages.enrol_failure = Unavailable("The store is away. Nothing was written.")
        with pytest.raises(Unavailable, match="Nothing was written"):
            pipeline.enrolled(b"1")
