"""A real pipeline over made-up stages, a made-up Triton and a made-up store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from ray.exceptions import OwnerDiedError

from serving.gallery.location import Location
from serving.gallery.version import Version
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
from serving.model.liveness import LivenessModel
from serving.pipeline.freshness import Shared, Versions
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.reports import EnrolmentReport, Identified
from serving.pipeline.timings import Timings
from serving.settings import (
    EnrolmentSettings,
    GallerySettings,
    LimitSettings,
    LivenessSettings,
    LookupSettings,
    MatchSettings,
)
from serving.stages.refs import Ref
from serving.vision.align import Alignment
from serving.vision.records import Faces
from serving.vision.surroundings import Surroundings
from tests.support.pipeline import FakeEmbedder
from tests.support.stages import CARD, FakeMatch, Held, faces

T = TypeVar("T")

LOCATION = Location("shop", CARD.id, CARD.dimension)
CONFLICT = Conflict(ConflictKind.ALREADY_ENROLLED, (0,), 0.8, 0.99, 5, "Eve")
ASKED: dict[str, Any] = {
    "collection": "shop",
    "top_k": 1,
    "max_faces": None,
    "threshold": None,
}


class Stages(FakeMatch):
    """Decoding, detection and matching in one: a photo ``b"3"`` shows three faces."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.alignments: list[Alignment | None] = []
        self.surroundings: list[Surroundings | None] = []
        self.uncut = False  # whether it is of a version that knows no surroundings
        self.starting = False
        self.failures: dict[bytes, Exception] = {}
        self.turned: set[bytes] = set()
        self.scores: dict[bytes, list[float]] = {}
        self.cancelled: list[bytes] = []
        self.slow: set[bytes] = set()
        self.crowds: set[bytes] = set()
        self.crowds_at_once = self.most_crowds_at_once = 0
        # Method -> the number of its results that are lost.
        self.lost: dict[str, int] = {}
        self.at_once = self.most_at_once = 0
        self.enrolments: list[Enrolment] = []
        self.identified: list[tuple[int, int, int | None]] = []  # faces, top_k, at_least
        self.candidates: tuple[Candidate, ...] | None = None  # of each face; None: one
        self.enrol_failure: Exception | None = None
        self.conflicts: tuple[Conflict, ...] = ()
        self.known: GalleryStatus | Exception = GalleryStatus(True, 3, 1, 1, None)

    async def ready(self) -> None:
        self.asked.append("ready")
        await asyncio.sleep(10 if self.starting else 0)

    async def decode(self, data: Ref[bytes]) -> Ref[Any]:  # of the file's own bytes
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

    async def detect(
        self,
        photo: Ref[Any],
        most: int,
        alignment: Alignment | None,
        surroundings: Surroundings | None = None,
    ) -> Ref[Faces] | None:
        self.asked.append("detect")
        self.alignments.append(alignment)
        self.surroundings.append(surroundings)
        data = await photo.get()
        return None if data in self.crowds else self._faces(data, most)

    async def detect_crowd(
        self,
        photo: Ref[Any],
        most: int,
        alignment: Alignment | None,
        surroundings: Surroundings | None = None,
    ) -> Ref[Faces]:
        self.asked.append("detect_crowd")
        self.alignments.append(alignment)
        self.surroundings.append(surroundings)
        self.crowds_at_once += 1
        self.most_crowds_at_once = max(self.most_crowds_at_once, self.crowds_at_once)
        await asyncio.sleep(0.01)
        self.crowds_at_once -= 1
        return self._faces(await photo.get(), most)

    def _faces(self, data: bytes, most: int) -> Ref[Faces]:
        boxes = [(0.0, 0.0, 90.0 - n, 90.0 - n) for n in range(int(data))]
        found = faces(*boxes).first(most)
        if data in self.scores:
            scores = np.array(self.scores[data][:most], np.float32)
            found = replace(found, scores=scores)
        if data in self.turned:
            turned = tuple(replace(quality, turn=1) for quality in found.quality)
            found = replace(found, quality=turned)
        wanted = self.surroundings[-1]
        if wanted is not None and not self.uncut:
            # Full of the place of the face, as its crop is.
            around = np.zeros((len(found), 3, wanted.height, wanted.width), np.uint8)
            around += np.arange(len(found), dtype=np.uint8)[:, None, None, None]
            found = replace(found, surroundings=around)
        return self._handed("detect", found)

    async def identify(
        self, location: Location, probes: Any, top_k: int, at_least: int | None
    ) -> Ref[Matches]:
        self.asked.append("identify")
        assert location == LOCATION
        self.identified.append((len(probes), top_k, at_least))
        people = tuple(
            (Candidate(n, None, 0.5),) if self.candidates is None else self.candidates[:top_k]
            for n in range(len(probes))
        )
        return self._handed("identify", Matches(people, 3, 1))

    async def enrol(self, location: Location, enrolment: Enrolment) -> Enrolled | Refused:
        if self.enrol_failure is not None:
            raise self.enrol_failure
        assert location == LOCATION
        self.enrolments.append(enrolment)
        if self.conflicts and enrolment.refuse:
            return Refused(self.conflicts)
        return Enrolled(enrolment.name, len(enrolment.embeddings), 4, self.conflicts)

    async def status(self, location: Location) -> GalleryStatus:
        assert location == Location("default", CARD.id, CARD.dimension)
        if isinstance(self.known, Exception):
            raise self.known
        return self.known


class Store:
    """Returns the gallery's version, after a while."""

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
    """The store's version, for any model."""

    def __init__(self, store: Store) -> None:
        super().__init__(GallerySettings())
        self._ask = Shared(store)

    async def now(self, location: Location) -> Version | None:
        assert location == LOCATION
        version = await self._ask()
        return None if version is None else Version.of(version)


class LocalPipeline(Pipeline):
    """A pipeline over fakes, which replace only what lies outside the process."""

    def __init__(
        self,
        enrolment: EnrolmentSettings | None = None,
        lookup: LookupSettings | None = None,
        detector: str = "mtcnn",
        liveness: LivenessModel | None = None,
        live: LivenessSettings | None = None,
        **limits: Any,
    ) -> None:
        self.stages = Stages()
        self.store = Store()
        self.embedder = FakeEmbedder()
        self.seen: list[tuple[str, int]] = []
        super().__init__(
            self.stages,
            self.stages,
            self.stages,
            embedder=self.embedder,
            versions=FakeVersions(self.store),
            limits=LimitSettings(**limits),
            matching=MatchSettings(),
            lookup=lookup or LookupSettings(),
            collection="default",
            detector=detector,
            seen=lambda outcome, faces: self.seen.append((outcome, faces)),
            enrolment=enrolment,
            liveness=liveness,
            live=live,
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
