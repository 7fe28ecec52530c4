"""One request through the stages: order, limits and failures."""

from __future__ import annotations

import asyncio

import pytest

from serving.errors import Overloaded, Unavailable, UnsupportedImage
from serving.matching.ambiguity import COMPARED
from serving.matching.records import Candidate, Matches
from serving.model.card import Margin
from serving.pipeline.timings import Timings
from serving.pipeline.verification import compare
from serving.settings import LookupSettings
from serving.vision.align import alignment_of
from tests.support.local_pipeline import ASKED, LocalPipeline, run
from tests.support.stages import ALIGNED, CARD


@pytest.fixture
def pipeline() -> LocalPipeline:
    return LocalPipeline()


class TestIdentify:
    def test_every_face_is_asked_for_in_one_call(self, pipeline: LocalPipeline) -> None:
        found = pipeline.identified(b"3", top_k=5)
        assert pipeline.stages.asked == ["decode", "detect", "identify"]
        assert pipeline.stages.identified == [(3, 5, 3)]
        assert len(found.faces) == len(found.matches.candidates) == 3
        assert found.card == CARD

    def test_people_who_are_as_likely_are_compared_whatever_the_caller_asks_for(
        self, pipeline: LocalPipeline
    ) -> None:
        pair = (Candidate(7, None, 0.8), Candidate(8, None, 0.79))
        pipeline.stages.candidates = (*pair, Candidate(9, None, 0.3))
        assert pipeline.identified(b"2").ambiguous == {}  # the card does not know
        margin = Margin(cosine=0.1, measured_on="nobody")
        pipeline.embedder.card = CARD.model_copy(update={"margin": margin})
        found = pipeline.identified(b"2", top_k=1)
        assert pipeline.stages.identified == [(2, 1, 3), (2, COMPARED, 3)]
        assert found.matches.candidates == ((pair[0],), (pair[0],))
        assert found.ambiguous == {0: pair, 1: pair}
        assert found.named == (None, None)
        assert len(pipeline.identified(b"1", top_k=50).matches.candidates[0]) == 3
        assert pipeline.stages.identified[-1] == (1, 50, 3)

    def test_crops_are_those_that_the_models_card_wants(self, pipeline: LocalPipeline) -> None:
        pipeline.identified(b"3")
        assert pipeline.stages.alignments == [None]
        pipeline.embedder.card = ALIGNED
        pipeline.stages.crowds.add(b"50")
        pipeline.stages.alignments.clear()
        pipeline.identified(b"50")
        pipeline.enrolled(b"1")
        images = {"image_a": b"1", "image_b": b"1"}
        run(compare(pipeline, images, LookupSettings(), Timings()))
        assert pipeline.stages.alignments == [alignment_of(ALIGNED.preprocessing)] * 5
        run(pipeline.faces(b"1", Timings()))
        assert pipeline.stages.alignments[-1] is None

    def test_a_card_that_wants_what_is_not_known_bothers_no_stage(
        self, pipeline: LocalPipeline
    ) -> None:
        preprocessing = {"align": "in three dimensions"}
        pipeline.embedder.card = CARD.model_copy(update={"preprocessing": preprocessing})
        with pytest.raises(Unavailable, match="in three dimensions"):
            pipeline.identified()
        assert pipeline.stages.asked == []
        assert "in three dimensions" in str(run(pipeline.ready())["triton"])

    def test_a_model_with_crops_of_another_detector_bothers_no_stage(self) -> None:
        pipeline = LocalPipeline(detector="yunet")
        for call in (pipeline.identified, lambda: pipeline.enrolled(b"1")):
            with pytest.raises(Unavailable, match=r"detect\.model is yunet"):
                call()
        assert pipeline.stages.asked == []
        assert run(pipeline.faces(b"1", Timings())).found == 1

    def test_no_face_still_tells_the_gallerys_version(self, pipeline: LocalPipeline) -> None:
        found = pipeline.identified(b"0")
        assert len(found.faces) == 0
        assert found.matches == Matches((), 3, 1)

    @pytest.mark.parametrize(("asked", "limit", "told"), [(2, 1000, 2), (None, 3, 3), (9, 3, 3)])
    def test_the_largest_so_many_are_looked_at(
        self, asked: int | None, limit: int, told: int
    ) -> None:
        pipeline = LocalPipeline(max_faces=limit)
        found = pipeline.identified(b"5", max_faces=asked)
        assert found.faces.boxes[:, 2].tolist() == [90 - n for n in range(told)]
        assert pipeline.stages.identified[0][0] == told

    def test_the_largest_are_those_of_the_score(self, pipeline: LocalPipeline) -> None:
        pipeline.stages.scores[b"3"] = [0.92, 0.99, 0.96]
        found = pipeline.identified(b"3", max_faces=1, score=0.95)
        assert (found.faces.boxes[:, 2].tolist(), found.faces.more) == ([89], 1)
        assert pipeline.stages.identified[0][0] == 1
        assert len(pipeline.identified(b"3", score=0.999).faces) == 0

    def test_the_answer_says_that_there_were_more(self) -> None:
        pipeline = LocalPipeline(max_faces=3)
        assert pipeline.identified(b"5").faces.more == 2
        assert pipeline.identified(b"5", max_faces=1).faces.found == 5
        assert pipeline.identified(b"3").faces.more == 0

    def test_crowds_wait_here_and_hold_no_places_of_the_stage(
        self, pipeline: LocalPipeline
    ) -> None:
        pipeline.stages.crowds.add(b"50")

        async def many() -> None:
            crowds = [
                asyncio.ensure_future(pipeline.identify(b"50", **ASKED, timings=Timings()))
                for _ in range(8)
            ]
            timings = Timings()
            await pipeline.identify(b"1", **ASKED, timings=timings)
            assert not any(crowd.done() for crowd in crowds[2:])
            assert "detect" in timings.work_ms
            assert [len((await crowd).faces) for crowd in crowds] == [50] * 8

        run(many())
        assert pipeline.stages.most_crowds_at_once == 2

    def test_the_version_is_asked_beside_the_stages(self, pipeline: LocalPipeline) -> None:
        async def work() -> None:
            pipeline.stages.slow.add(b"1")
            going = asyncio.create_task(pipeline.identify(b"1", **ASKED, timings=Timings()))
            await asyncio.sleep(0.02)
            assert pipeline.stages.asked == ["decode"]
            assert pipeline.store.begun == 1
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going

        run(work())

    def test_matching_waits_for_the_version(self, pipeline: LocalPipeline) -> None:
        pipeline.store.seconds = 0.05
        pipeline.store.version = 99
        pipeline.identified()
        assert pipeline.stages.identified == [(1, 1, 99)]

    def test_while_the_store_is_away_memory_must_do(self, pipeline: LocalPipeline) -> None:
        pipeline.store.version = None
        pipeline.identified()
        assert pipeline.stages.identified == [(1, 1, None)]

    def test_requests_that_arrive_together_ask_the_store_once(
        self, pipeline: LocalPipeline
    ) -> None:
        async def many() -> None:
            await asyncio.gather(
                *(pipeline.identify(b"1", **ASKED, timings=Timings()) for _ in range(20))
            )

        run(many())
        assert pipeline.store.begun == 1
        assert len(pipeline.stages.identified) == 20

    @pytest.mark.parametrize("failure", [UnsupportedImage("No image."), Overloaded("Too many.")])
    def test_a_failure_is_the_callers_and_ends_the_work(
        self, pipeline: LocalPipeline, failure: Exception
    ) -> None:
        pipeline.stages.failures[b"1"] = failure
        with pytest.raises(type(failure)):
            pipeline.identified()
        assert pipeline.stages.asked == ["decode"]

    @pytest.mark.parametrize(
        ("method", "asked"),
        [
            ("decode", ["decode", "detect", "decode", "detect", "identify"]),
            ("detect", ["decode", "detect", "decode", "detect", "identify"]),
            ("identify", ["decode", "detect", "identify", "identify"]),
        ],
    )
    def test_what_is_lost_with_a_replica_is_made_again(
        self, pipeline: LocalPipeline, method: str, asked: list[str]
    ) -> None:
        pipeline.stages.lost[method] = 1
        assert len(pipeline.identified(b"3").matches.candidates) == 3
        assert pipeline.stages.asked == asked

    @pytest.mark.parametrize("method", ["decode", "detect", "identify"])
    def test_what_is_lost_again_is_not_made_for_ever(
        self, pipeline: LocalPipeline, method: str
    ) -> None:
        pipeline.stages.lost[method] = 2
        with pytest.raises(Unavailable, match="send it again"):
            pipeline.identified()
        assert pipeline.stages.asked.count(method) == 2

    def test_without_triton_no_stage_is_bothered(self, pipeline: LocalPipeline) -> None:
        pipeline.embedder.failure = Unavailable("Triton cannot be reached.")
        with pytest.raises(Unavailable):
            pipeline.identified()
        assert pipeline.stages.asked == []

    def test_each_stage_is_timed(self, pipeline: LocalPipeline) -> None:
        timings = Timings()
        pipeline.identified(timings=timings)
        assert list(timings.ms) == ["decode", "detect", "embed", "gallery", "match"]

    def test_each_wait_is_observed(self, pipeline: LocalPipeline) -> None:
        waits: list[tuple[str, float]] = []
        timings = Timings(observe=lambda stage, seconds: waits.append((stage, seconds)))
        pipeline.identified(timings=timings)
        assert {stage: seconds * 1000 for stage, seconds in waits} == timings.ms

    def test_a_wait_for_nothing_is_observed_too(self, pipeline: LocalPipeline) -> None:
        waits: list[str] = []
        timings = Timings(observe=lambda stage, seconds: waits.append(stage))
        pipeline.stages.failures[b"1"] = Overloaded("Too many.")
        with pytest.raises(Overloaded):
            pipeline.identified(timings=timings)
        assert waits == ["decode"]

    @pytest.mark.parametrize(
        ("photo", "seen"), [(b"3", ("faces", 3)), (b"0", ("no-face", 0))], ids=["faces", "none"]
    )
    def test_what_became_of_a_photo_is_told(
        self, pipeline: LocalPipeline, photo: bytes, seen: tuple[str, int]
    ) -> None:
        pipeline.identified(photo)
        assert pipeline.seen == [seen]

    @pytest.mark.parametrize(
        ("failure", "outcome"),
        [
            (UnsupportedImage("No image."), "unsupported-image"),
            (Overloaded("Too many."), "overloaded"),
            (KeyError("a bug"), "error"),
        ],
    )
    def test_why_a_photo_failed_is_told(
        self, pipeline: LocalPipeline, failure: Exception, outcome: str
    ) -> None:
        pipeline.stages.failures[b"1"] = failure
        with pytest.raises(type(failure)):
            pipeline.identified()
        assert pipeline.seen == [(outcome, 0)]
