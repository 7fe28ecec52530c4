"""A pipeline and an embedder with the answers that a test sets, without stages and Triton."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.matching.records import Candidate, Conflict, Enrolled, GalleryStatus, Matches
from serving.matching.threshold import threshold_of
from serving.model.card import ModelCard
from serving.model.embedder import Embedder, ServedModel
from serving.model.liveness import Liveness
from serving.pipeline import units
from serving.pipeline.extraction import Extracted
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.reports import ConflictsRefused, EnrolmentReport, Identified, PhotoReport
from serving.pipeline.timings import Timings
from serving.settings import MAX_FACES, MatchSettings, TritonSettings
from serving.vision.records import Faces
from tests.support.people import DIMENSION
from tests.support.stages import CARD, faces, row_of


class FakeEmbedder(Embedder):
    """Embeds the crops of `faces`: those full of n become `row_of(n)`."""

    def __init__(self) -> None:
        super().__init__(TritonSettings())
        self.failure: Exception | None = None
        self.is_ready = True
        self.card = CARD

    async def served(self) -> ServedModel:
        if self.failure is not None:
            raise self.failure
        return ServedModel(self.card, 32, "INPUT__0", "OUTPUT__0", 0.0)

    async def ready(self) -> bool:
        return self.is_ready

    async def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self.failure is not None:
            raise self.failure
        if not len(crops):
            return np.empty((0, DIMENSION), np.float32)
        return row_of(*crops[:, 0, 0, 0].tolist())


class FakePipeline(Pipeline):
    """Records its calls, and always finds one face, which is person 7 with a cosine of 0.75.

    ``found`` sets other faces for single photos; an exception in it is raised.
    """

    def __init__(self, matching: MatchSettings, max_faces: int = MAX_FACES) -> None:
        self.matching = matching
        self.max_faces = max_faces
        self.asked: list[dict[str, Any]] = []
        self.collections: list[str] = []
        self.failure: BaseException | None = None
        self.seconds = 0.0
        self.found: dict[bytes, Faces | Exception] = {}
        self.ambiguous: Mapping[int, tuple[Candidate, ...]] = {}
        self.conflicts: list[Conflict] = []
        self.refused = False
        self.verdict: Liveness | None = None  # on every face
        self.embedder = FakeEmbedder()
        self.state: dict[str, str | GalleryStatus] = {
            "stages": "ok",
            "triton": "ok",
            "gallery": GalleryStatus(True, 17, 2, 5, None),
        }

    async def identify(
        self,
        data: bytes,
        *,
        collection: str,
        top_k: int,
        max_faces: int | None,
        threshold: float | None,
        timings: Timings,
        score: float = 0.0,
    ) -> Identified:
        self.collections.append(collection)
        await self._work({"data": data, "top_k": top_k, "max_faces": max_faces}, timings)
        found = self._found_in(data).scored(score)
        found = found.first(min(max_faces or self.max_faces, self.max_faces))
        live = self.verdict is None or self.verdict.live
        candidates = ((Candidate(7, "Ada", 0.75),) if live else (),) * len(found)
        cosine = threshold_of(threshold, self.matching, CARD, 1000)
        return Identified(
            found,
            Matches(candidates, 17, 1000),
            CARD,
            cosine,
            ((),) * len(found),
            self.ambiguous,
            self.matching.ambiguous == "nearest",
            (self.verdict,) * len(found),
        )

    async def enrol(
        self,
        images: Sequence[bytes],
        *,
        collection: str,
        person: int | None,
        name: str | None,
        append: bool,
        force: bool,
        timings: Timings,
        retention: Mapping[str, Any] | None = None,
        only_face: float | None = None,
    ) -> EnrolmentReport:
        self.collections.append(collection)
        asked = {"images": list(images), "person": person, "name": name, "append": append}
        await self._work({**asked, "force": force}, timings)
        if only_face is not None:
            self.asked[-1]["only_face"] = only_face
        photos = [PhotoReport(faces((1, 2, 30, 40)), 1, None) for _ in images]
        if self.refused and not force:
            raise ConflictsRefused(photos, self.conflicts)
        if retention:
            self.asked[-1]["retention"] = dict(retention)
        enrolled = Enrolled(
            name,
            len(images),
            18,
            tuple(self.conflicts),
            (retention or {}).get("expires_at"),
            7 if person is None else person,
            ("00112233aabbccdd",) * len(images),
        )
        return EnrolmentReport(photos, enrolled, CARD)

    async def faces(
        self,
        data: bytes,
        timings: Timings,
        most: int | None = None,
        card: ModelCard | None = None,
        score: float = 0.0,
        checked: bool = True,
    ) -> Faces:
        await self._work({"data": data}, timings)
        found = self._found_in(data).scored(score)
        return found.first(min(most or self.max_faces, self.max_faces))

    async def card(self) -> ModelCard:
        return (await self.embedder.served()).card

    async def extract(self, faces: Sequence[Faces], timings: Timings) -> Extracted:
        crops = np.concatenate([of_photo.crops for of_photo in faces])
        vectors = await timings.of("embed", self.embedder.embed(crops))
        return Extracted(vectors, (self.verdict,) * len(crops))

    async def ready(self) -> dict[str, str | GalleryStatus]:
        await asyncio.sleep(self.seconds)
        return self.state

    def _found_in(self, data: bytes) -> Faces:
        found = self.found.get(data, faces((1, 2, 30, 40)))
        units.current().add(1 if isinstance(found, Exception) else units.units_of(found))
        if isinstance(found, Exception):
            raise found
        return found

    async def _work(self, asked: dict[str, Any], timings: Timings) -> None:
        self.asked.append(asked)
        await timings.of("detect", asyncio.sleep(self.seconds))
        if self.failure is not None:
            raise self.failure
