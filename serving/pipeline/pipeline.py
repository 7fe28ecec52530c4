"""One request through the stages: decode, detect, embed, match."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.errors import (
    ServingError,
    TooLarge,
    Unavailable,
    UnsupportedImage,
)
from serving.gallery.location import Location
from serving.matching.records import Enrolled, Enrolment, GalleryStatus, Matches, Refused
from serving.matching.threshold import threshold_of
from serving.model.card import ModelCard
from serving.model.embedder import Embedder
from serving.pipeline.freshness import Shared, Versions
from serving.pipeline.reports import (
    ConflictsRefused,
    EnrolmentReport,
    Identified,
    NoFaceInAny,
    PhotoReport,
)
from serving.pipeline.timings import Timings
from serving.settings import PHOTOS_AT_ONCE, EnrolmentSettings, LimitSettings, MatchSettings
from serving.stages import refs
from serving.stages.calls import call, write
from serving.vision.quality import fault
from serving.vision.records import Faces

T = TypeVar("T")

# How long a question for readiness waits for a stage.
_STARTING_SECONDS = 2.0


class Pipeline:
    """The stages behind one door.

    Args:
        decode, detect, match: handles of the deployments.
        collection: the one whose gallery has to be loaded for the service to be ready.
        seen: is told of every photo what became of it, see `_faces`, and how many faces it has.
    """

    def __init__(
        self,
        decode: Any,
        detect: Any,
        match: Any,
        embedder: Embedder,
        versions: Versions,
        limits: LimitSettings,
        matching: MatchSettings,
        collection: str,
        seen: Callable[[str, int], None] = lambda outcome, faces: None,
        enrolment: EnrolmentSettings | None = None,
    ) -> None:
        self._decode = decode
        self._detect = detect
        self._match = match
        self._limits = limits
        self._matching = matching
        self._collection = collection
        self._seen = seen
        self._enrolment = enrolment or EnrolmentSettings()
        self._embedder = embedder
        self._versions = versions
        self._up = False
        # Anybody may ask, as often as he likes; and it costs Triton and the store a request each.
        self._looks = Shared(self._look)

    async def identify(
        self,
        data: bytes,
        *,
        collection: str,
        top_k: int,
        max_faces: int | None,
        threshold: float | None,
        timings: Timings,
    ) -> Identified:
        """The faces of one image file and who they are, largest first.

        The gallery is at least as new as it was when this was called.

        Args:
            threshold: the caller's, see `serving.matching.threshold`.
        """
        card = (await self._embedder.served()).card
        # Beside the other stages, so that asking costs no time of its own.
        where = Location(collection, card.id, card.dimension)
        version = asyncio.create_task(self._versions.now(where))
        try:
            faces = await self.faces(data, timings)
            faces = faces.first(min(max_faces or len(faces), self._limits.max_faces))
            probes = await timings.of("embed", self._embedder.embed(faces.crops))
            at_least = await timings.of("gallery", version)

            async def search() -> Matches:
                found: refs.Ref[Matches] = await timings.made(
                    "match", call(self._match.identify, where, probes, top_k, at_least)
                )
                return await found.get()

            matches = await refs.kept(search)
            cosine = threshold_of(threshold, self._matching, card, matches.people)
            return Identified(faces, matches, card, cosine)
        finally:
            version.cancel()

    async def enrol(
        self,
        images: Sequence[bytes],
        *,
        collection: str,
        person: int,
        name: str | None,
        append: bool,
        force: bool,
        timings: Timings,
    ) -> EnrolmentReport:
        """Enrol the largest face of each photo.

        Args:
            force: whatever its quality, and whatever conflicts there are.

        Raises:
            NoFaceInAny: no photo is usable; nothing was written.
            ConflictsRefused: there are conflicts, and the settings refuse them; nothing was
                written.
        """
        card = (await self._embedder.served()).card
        free = asyncio.Semaphore(PHOTOS_AT_ONCE)

        async def look(data: bytes) -> PhotoReport:
            async with free:
                return await self._enrollable(data, timings, force)

        photos = await all_of(look(data) for data in images)
        usable = [p.face.crops for p in photos if p.used and p.face is not None]
        if not usable:
            raise NoFaceInAny(photos)
        embeddings = await timings.of("embed", self._embedder.embed(np.concatenate(usable)))
        enrolment = Enrolment(
            id=person,
            embeddings=embeddings,
            card=card,
            name=name,
            append=append,
            refuse=self._enrolment.conflicts == "refuse" and not force,
        )
        where = Location(collection, card.id, card.dimension)
        enrolled: Enrolled | Refused = await timings.of(
            "match", write(self._match.enrol, where, enrolment)
        )
        if isinstance(enrolled, Refused):
            raise ConflictsRefused(photos, enrolled.conflicts)
        return EnrolmentReport(photos, enrolled, card)

    async def card(self) -> ModelCard:
        """The card of the served model."""
        return (await self._embedder.served()).card

    async def embed(self, crops: NDArray[np.uint8], timings: Timings) -> NDArray[np.float32]:
        """Embeddings of face crops, as `Embedder.embed` has them."""
        return await timings.of("embed", self._embedder.embed(crops))

    async def ready(self) -> dict[str, str | GalleryStatus]:
        """The state of what the service depends on: ``ok``, a sentence, or the gallery's status.

        Those who ask at the same time share one look at it all.
        """
        return await self._looks()

    async def _look(self) -> dict[str, str | GalleryStatus]:
        stages = await self._stages()
        try:
            card = (await self._embedder.served()).card
        except Unavailable as error:
            gallery = "not asked: it depends on the model"
            return {"stages": stages, "triton": str(error), "gallery": gallery}
        triton = "ok" if await self._embedder.ready() else "Triton does not serve the model."
        try:
            where = Location(self._collection, card.id, card.dimension)
            status = await call(self._match.status, where)
        except Unavailable as error:
            return {"stages": stages, "triton": triton, "gallery": str(error)}
        return {"stages": stages, "triton": triton, "gallery": status}

    async def _stages(self) -> str:
        """Whether decoding and detection have come up. Later Serve looks after their replicas, and
        a check that waits in line behind photos would tell of load, not of health."""
        if not self._up:
            asked = [call(stage.ready) for stage in (self._decode, self._detect)]
            try:
                await asyncio.wait_for(asyncio.gather(*asked), _STARTING_SECONDS)
            except asyncio.TimeoutError:
                return "A stage is still starting."
            except Unavailable as error:
                return str(error)
            self._up = True
        return "ok"

    async def faces(self, data: bytes, timings: Timings) -> Faces:
        """The faces of one image file, largest first. Asks neither Triton nor the gallery."""

        async def look() -> Faces:
            file = await refs.put(data, len(data))
            photo = await timings.made("decode", call(self._decode.decode, file))
            ref: refs.Ref[Faces] = await timings.made("detect", call(self._detect.detect, photo))
            return await ref.get()

        # What became of the photo: ``faces``, ``no-face``, or the type of an error.
        outcome, faces = "error", 0
        try:
            found = await refs.kept(look)
            faces = len(found)
            outcome = "faces" if faces else "no-face"
            return found
        except ServingError as error:
            outcome = error.type
            raise
        except asyncio.CancelledError:
            outcome = "given-up"
            raise
        finally:
            self._seen(outcome, faces)

    async def _enrollable(self, data: bytes, timings: Timings, force: bool) -> PhotoReport:
        if len(data) > self._limits.max_image_bytes:
            self._seen(TooLarge.type, 0)
            return PhotoReport(None, 0, "The file is larger than this service takes.")
        try:
            faces = await self.faces(data, timings)
        except (UnsupportedImage, TooLarge) as error:
            return PhotoReport(None, 0, str(error))
        if not len(faces):
            return PhotoReport(None, 0, "No face was found.")
        face = faces.first(1)
        found = None if force else await asyncio.to_thread(fault, face, self._enrolment)
        if found is not None:
            return PhotoReport(face, len(faces), found.sentence, found.gate)
        return PhotoReport(face, len(faces), None)


def what_is_missing(checks: Mapping[str, str | GalleryStatus]) -> str | None:
    """The first of what `Pipeline.ready` tells that keeps the service from working."""
    for part in ("stages", "triton"):
        if checks[part] != "ok":
            return str(checks[part])
    gallery = checks["gallery"]
    if not isinstance(gallery, GalleryStatus):
        return gallery
    return None if gallery.loaded else gallery.problem or "The gallery is not loaded yet."


async def all_of(work: Iterable[Awaitable[T]]) -> list[T]:
    """Gather; the first failure cancels what is still under way."""
    tasks = [asyncio.ensure_future(w) for w in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
