"""Liveness in the pipeline: nobody who is taken for an attack has a name, whatever else happens."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from serving.errors import Unavailable
from serving.matching.records import Candidate
from serving.pipeline.readiness import what_is_missing
from serving.pipeline.reports import NOT_LIVE, NoFaceInAny
from serving.pipeline.timings import Timings
from serving.pipeline.verification import Compared, compare, compare_all
from serving.settings import LookupSettings
from serving.vision.surroundings import Surroundings
from tests.support.liveness import LivenessTriton, by_value, model, settings
from tests.support.local_pipeline import LocalPipeline, run


def pipeline_of(triton: LivenessTriton, **more: Any) -> LocalPipeline:
    return LocalPipeline(liveness=model(triton, **more), live=settings(**more))


def verified(pipeline: LocalPipeline) -> Compared:
    images = {"image_a": b"1", "image_b": b"1"}
    return run(compare(pipeline, images, LookupSettings(), Timings()))


class TestLookUp:
    def test_an_attack_has_neither_name_nor_candidates(self) -> None:
        pipeline = pipeline_of(LivenessTriton(by_value(1)))
        pipeline.stages.candidates = (Candidate(7, "Ada", 0.99),)
        identified = pipeline.identified(b"3")
        assert [named and named.id for named in identified.named] == [7, None, 7]
        assert [len(found) for found in identified.matches.candidates] == [1, 0, 1]
        assert identified.attacks == {1}
        assert [live and live.live for live in identified.liveness] == [True, False, True]

    def test_not_even_by_a_threshold_that_names_everybody(self) -> None:
        pipeline = pipeline_of(LivenessTriton(by_value(0)))
        identified = pipeline.identified(b"1", threshold=-1.0)
        assert identified.named == (None,)

    def test_an_attack_is_not_ambiguous(self) -> None:
        pipeline = pipeline_of(LivenessTriton(by_value(0)))
        pipeline.stages.candidates = (Candidate(7, None, 0.8), Candidate(8, None, 0.8))
        identified = pipeline.identified(b"1")
        assert (identified.ambiguous, identified.poor) == ({}, 0)

    def test_detection_is_asked_for_the_crops_of_the_model(self) -> None:
        pipeline = pipeline_of(LivenessTriton(), scale=4.0, region="box")
        pipeline.identified(b"1")
        assert pipeline.stages.surroundings == [Surroundings(8, 6, 4.0, "box")]

    def test_all_faces_of_a_photo_are_one_inference_beside_the_embedding(self) -> None:
        triton = LivenessTriton()
        timings = Timings()
        pipeline_of(triton).identified(b"5", timings=timings)
        assert [len(part) for part in triton.seen] == [5]
        assert {"embed", "liveness"} <= set(timings.ms)

    def test_a_photo_without_a_face_is_not_sent(self) -> None:
        triton = LivenessTriton()
        assert pipeline_of(triton).identified(b"0").named == ()
        assert triton.asked == ["metadata"]

    def test_detection_alone_asks_for_nothing(self) -> None:
        triton = LivenessTriton()
        pipeline = pipeline_of(triton)
        assert len(run(pipeline.faces(b"2", Timings()))) == 2
        assert (triton.asked, pipeline.stages.surroundings) == ([], [None])

    def test_without_a_model_nothing_is_checked(self) -> None:
        pipeline = LocalPipeline()
        identified = pipeline.identified(b"2")
        assert identified.liveness == (None, None)
        assert identified.live(1) is None
        assert pipeline.stages.surroundings == [None]


class TestFailsClosed:
    def test_a_model_that_is_away_is_an_error_before_a_stage_works(self) -> None:
        triton = LivenessTriton()
        triton.failure = InferenceServerException("no such model")
        pipeline = pipeline_of(triton)
        with pytest.raises(Unavailable, match="refuses the model 'spoof'"):
            pipeline.identified(b"1")
        assert "detect" not in pipeline.stages.asked

    def test_a_model_that_answers_nonsense_is_an_error(self) -> None:
        pipeline = pipeline_of(LivenessTriton(lambda crops: crops * np.nan))
        for work in (lambda: pipeline.identified(b"1"), lambda: verified(pipeline)):
            with pytest.raises(Unavailable, match="no probability for each face"):
                work()
        with pytest.raises(Unavailable, match="no probability for each face"):
            pipeline.enrolled(b"1")
        assert pipeline.stages.enrolments == []

    def test_faces_that_came_without_their_surroundings_are_an_error(self) -> None:
        pipeline = pipeline_of(LivenessTriton())
        pipeline.stages.uncut = True
        with pytest.raises(Unavailable, match="another liveness model"):
            pipeline.identified(b"1")

    def test_the_service_is_not_ready_without_the_model(self) -> None:
        triton = LivenessTriton()
        pipeline = pipeline_of(triton)
        assert what_is_missing(run(pipeline.ready())) is None
        triton.metadata = {}
        pipeline = pipeline_of(triton)
        assert "not as it has to be" in str(what_is_missing(run(pipeline.ready())))


class TestVerification:
    def test_neither_same_nor_different(self) -> None:
        compared = verified(pipeline_of(LivenessTriton(by_value(0))))
        assert not compared.sufficient
        assert [live and live.live for live in compared.liveness] == [False, False]
        assert verified(pipeline_of(LivenessTriton())).sufficient

    def test_of_many_faces_each_has_its_own(self) -> None:
        pipeline = pipeline_of(LivenessTriton(by_value(2)))

        async def work() -> list[Compared]:
            limits, names = LookupSettings(), ("source", "target")
            return await compare_all(
                pipeline, b"1", b"3", limits, Timings(), names=names, most=None, score=0.0
            )

        assert [each.sufficient for each in run(work())] == [True, True, False]


class TestEnrolment:
    def test_a_photo_of_an_attack_is_left_out(self) -> None:
        triton = LivenessTriton()
        calls = iter([[3.0, -3.0, 3.0]])
        triton.answer = lambda crops: np.stack(
            [np.zeros(len(crops)), np.array(next(calls))], axis=1
        ).astype(np.float32)
        pipeline = pipeline_of(triton)
        report = pipeline.enrolled(b"1", b"1", b"0", b"1")
        assert [photo.gate for photo in report.photos] == [None, NOT_LIVE, None, None]
        assert [photo.used for photo in report.photos] == [True, False, False, True]
        assert len(pipeline.stages.enrolments[0].embeddings) == 2
        assert [photo.liveness is not None for photo in report.photos] == [True, True, False, True]

    @pytest.mark.parametrize("force", [False, True])
    def test_nobody_is_enrolled_by_attacks_alone_not_even_by_force(self, force: bool) -> None:
        pipeline = pipeline_of(LivenessTriton(by_value(0)))
        with pytest.raises(NoFaceInAny) as raised:
            pipeline.enrolled(b"1", b"1", force=force)
        assert [photo.gate for photo in raised.value.photos] == [NOT_LIVE, NOT_LIVE]
        assert pipeline.stages.enrolments == []

    def test_the_settings_may_want_only_look_ups_checked(self) -> None:
        triton = LivenessTriton(by_value(0))
        pipeline = pipeline_of(triton, enrolment=False)
        assert pipeline.enrolled(b"1").photos[0].used
        assert triton.asked == []
        assert pipeline.identified(b"1").attacks == {0}


def test_a_failure_of_the_check_does_not_leave_the_embedding_running() -> None:
    pipeline = pipeline_of(LivenessTriton(lambda crops: None))
    cancelled = []

    async def embed(crops: Any) -> Any:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    pipeline.embedder.embed = embed  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        pipeline.identified(b"1")
    assert cancelled == [True]
