"""One request through the stages: order, limits, and what one bad photo does to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import numpy as np
import pytest
from ray.exceptions import OwnerDiedError

from serving.errors import NoUsableFace, Overloaded, TooLarge, Unavailable, UnsupportedImage
from serving.gallery.location import Location
from serving.matching.records import (
    Candidate,
    Conflict,
    ConflictKind,
    Enrolled,
    Enrolment,
    GalleryStatus,
    Matches,
    Refused,
)
from serving.pipeline.freshness import Shared, Versions
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.reports import ConflictsRefused, EnrolmentReport, Identified, NoFaceInAny
from serving.pipeline.timings import Timings
from serving.settings import EnrolmentSettings, GallerySettings, LimitSettings, MatchSettings
from serving.stages import refs
from serving.stages.refs import Ref
from serving.vision.records import Faces
from tests.support.pipeline import FakeEmbedder
from tests.support.stages import CARD, Handle, Held, faces, row_of

T = TypeVar("T")


WHERE = Location("shop", CARD.id, CARD.dimension)
CONFLICT = Conflict(ConflictKind.ALREADY_ENROLLED, (0,), 0.8, 0.99, 5, "Eve")
ASKED: dict[str, Any] = {
    "collection": "shop",
    "top_k": 1,
    "max_faces": None,
    "threshold": None,
}


class Stages:
    """Decoding, detection and matching in one: a photo ``b"3"`` shows three faces."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.starting = False
        self.failures: dict[bytes, Exception] = {}
        self.turned: set[bytes] = set()
        self.cancelled: list[bytes] = []
        self.slow: set[bytes] = set()
        # Method -> how many of the values that it hands over are lost.
        self.lost: dict[str, int] = {}
        self.at_once = self.most_at_once = 0
        self.enrolments: list[Enrolment] = []
        self.identified: list[tuple[int, int, int | None]] = []  # faces, top_k, at_least
        self.enrol_failure: Exception | None = None
        self.conflicts: tuple[Conflict, ...] = ()
        self.known: GalleryStatus | Exception = GalleryStatus(True, 3, 1, 1, None)

    async def ready(self) -> None:
        self.asked.append("ready")
        await asyncio.sleep(10 if self.starting else 0)

    async def decode(self, data: Ref[bytes]) -> Ref[bytes]:
        self.asked.append("decode")
        photo = await data.get()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(10 if photo in self.slow else 0)
        except asyncio.CancelledError:
            self.cancelled.append(photo)
            raise
        finally:
            self.at_once -= 1
        if photo in self.failures:
            raise self.failures[photo]
        return self._handed("decode", photo)

    def _handed(self, method: str, value: T) -> Ref[T]:
        if self.lost.get(method, 0) == 0:
            return Ref((Held(value),), False)
        self.lost[method] -= 1
        return Ref((Held(OwnerDiedError.__new__(OwnerDiedError)),), False)

    async def detect(self, photo: Ref[bytes]) -> Ref[Faces]:
        self.asked.append("detect")
        data = await photo.get()
        boxes = [(0.0, 0.0, 90.0 - n, 90.0 - n) for n in range(int(data))]
        found = faces(*boxes)
        if data in self.turned:
            found.landmarks[:, 2, 0] = 0  # the noses
        return self._handed("detect", found)

    async def identify(
        self, where: Location, probes: Any, top_k: int, at_least: int | None
    ) -> Ref[Matches]:
        self.asked.append("identify")
        assert where == WHERE
        self.identified.append((len(probes), top_k, at_least))
        people = tuple((Candidate(n, None, 0.5),) for n in range(len(probes)))
        return self._handed("identify", Matches(people, 3, 1))

    async def enrol(self, where: Location, person: Enrolment) -> Enrolled | Refused:
        if self.enrol_failure is not None:
            raise self.enrol_failure
        assert where == WHERE
        self.enrolments.append(person)
        if self.conflicts and person.refuse:
            return Refused(self.conflicts)
        return Enrolled(person.name, len(person.embeddings), 4, self.conflicts)

    async def status(self, where: Location) -> GalleryStatus:
        assert where == Location("default", CARD.id, CARD.dimension)
        if isinstance(self.known, Exception):
            raise self.known
        return self.known


class Store:
    """Says which version the gallery has, after a while."""

    def __init__(self) -> None:
        self.version: int | None = 3
        self.seconds = 0.0
        self.begun = 0
        self.done = asyncio.Event()

    async def __call__(self) -> int | None:
        self.begun += 1
        await asyncio.sleep(self.seconds)
        return self.version


class FakeVersions(Versions):
    """The store's version, whichever the model."""

    def __init__(self, store: Store) -> None:
        super().__init__(GallerySettings())
        self._ask = Shared(store)

    async def now(self, where: Location) -> int | None:
        assert where == WHERE
        return await self._ask()


class LocalPipeline(Pipeline):
    """A pipeline over fakes; only what lies outside of the process is replaced."""

    def __init__(self, enrolment: EnrolmentSettings | None = None, **limits: Any) -> None:
        self.stages = Stages()
        self.store = Store()
        self.embedder = FakeEmbedder()
        self.seen: list[tuple[str, int]] = []
        super().__init__(
            Handle("decode", self.stages),
            Handle("detect", self.stages),
            Handle("match", self.stages),
            self.embedder,
            FakeVersions(self.store),
            LimitSettings(**limits),
            MatchSettings(),
            "default",
            lambda outcome, faces: self.seen.append((outcome, faces)),
            enrolment or EnrolmentSettings(min_sharpness=0),  # the crops of `faces` are flat
        )

    def identified(self, data: bytes = b"1", **options: Any) -> Identified:
        wanted = ASKED | {"timings": Timings()} | options
        return run(self.identify(data, **wanted))

    def enrolled(self, *images: bytes, **options: Any) -> EnrolmentReport:
        told: dict[str, Any] = {"person": 7, "name": None, "append": False, "force": False}
        wanted = told | {"collection": "shop", "timings": Timings()} | options
        return run(self.enrol(images, **wanted))


def run(work: Awaitable[T]) -> T:
    async def wait() -> T:
        return await asyncio.wait_for(work, 5)

    return asyncio.run(wait())


@pytest.fixture(autouse=True)
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hold(value: Any, nbytes: int) -> Ref[Any]:
        return Ref((Held(value),), False)

    monkeypatch.setattr(refs, "put", hold)


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
        pipeline = LocalPipeline(EnrolmentSettings(min_side=91, min_sharpness=0))
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
        pipeline = LocalPipeline(EnrolmentSettings(conflicts="refuse", min_sharpness=0))
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


class TestReady:
    def test_all_is_well(self, pipeline: LocalPipeline) -> None:
        expected = {"stages": "ok", "triton": "ok", "gallery": pipeline.stages.known}
        assert run(pipeline.ready()) == expected

    def test_a_stage_that_has_not_come_up_yet(
        self, pipeline: LocalPipeline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("serving.pipeline.pipeline._STARTING_SECONDS", 0.01)
        pipeline.stages.starting = True
        assert run(pipeline.ready())["stages"] == "A stage is still starting."

    def test_stages_that_have_come_up_are_not_asked_again(self, pipeline: LocalPipeline) -> None:
        for _ in range(3):
            assert run(pipeline.ready())["stages"] == "ok"
        assert pipeline.stages.asked == ["ready", "ready"]

    def test_however_many_ask_it_is_looked_twice_at_most(
        self, pipeline: LocalPipeline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks = []

        async def ready() -> bool:
            looks.append(1)
            await asyncio.sleep(0.01)
            return True

        monkeypatch.setattr(pipeline.embedder, "ready", ready)

        async def crowd() -> list[dict[str, Any]]:
            first = asyncio.ensure_future(pipeline.ready())
            await asyncio.sleep(0.005)  # it has begun
            return await asyncio.gather(first, *(pipeline.ready() for _ in range(50)))

        assert [checks["triton"] for checks in run(crowd())] == ["ok"] * 51
        assert len(looks) == 2

    def test_a_triton_that_unloaded_the_model(self, pipeline: LocalPipeline) -> None:
        pipeline.embedder.is_ready = False
        assert run(pipeline.ready())["triton"] != "ok"

    def test_triton_is_away(self, pipeline: LocalPipeline) -> None:
        pipeline.embedder.failure = Unavailable("Triton cannot be reached.")
        assert run(pipeline.ready())["triton"] == "Triton cannot be reached."

    def test_no_matcher_is_there(self, pipeline: LocalPipeline) -> None:
        pipeline.stages.known = Overloaded("Too many requests wait for match.")
        checks = run(pipeline.ready())
        assert (checks["triton"], checks["gallery"]) == ("ok", "Too many requests wait for match.")
