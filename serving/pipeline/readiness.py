"""Readiness: whether the stages are up, Triton serves the model and the gallery is loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from serving.errors import Unavailable
from serving.gallery.location import Location
from serving.matching.records import GalleryStatus
from serving.model.embedder import Embedder
from serving.pipeline.freshness import Shared
from serving.stages.interfaces import Decode, Detect, Match
from serving.vision.align import alignment_of

# How long a check waits for a stage to come up.
_STARTING_SECONDS = 2.0


class Readiness:
    """The state of what the service depends on.

    Args:
        collection: the one whose gallery has to be loaded.
        detector: the face detector, which the served model has to fit to.
        starting_s: how long a check waits for a stage to come up.
        liveness: says why faces cannot be checked for attacks; None: nothing is checked.
    """

    def __init__(
        self,
        decode: Decode,
        detect: Detect,
        match: Match,
        embedder: Embedder,
        collection: str,
        *,
        detector: str = "mtcnn",
        starting_s: float = _STARTING_SECONDS,
        liveness: Callable[[], Awaitable[str | None]] | None = None,
    ) -> None:
        self._decode = decode
        self._detect = detect
        self._match = match
        self._embedder = embedder
        self._collection = collection
        self._detector = detector
        self._starting_s = starting_s
        self._liveness = liveness
        self._up = False
        # Anybody may ask, as often as they like, and each check costs Triton and the store a
        # request.
        self._checks = Shared(self._check)

    async def checks(self) -> dict[str, str | GalleryStatus]:
        """The state by part: ``ok``, a sentence, or the gallery's status.

        Callers that ask at the same time share one check.
        """
        return await self._checks()

    async def _check(self) -> dict[str, str | GalleryStatus]:
        stages = await self._stages()
        try:
            card = (await self._embedder.served()).card
            alignment_of(card.preprocessing, self._detector)
        except Unavailable as error:
            gallery = "not asked: it depends on the model"
            return {"stages": stages, "triton": str(error), "gallery": gallery}
        triton = "ok" if await self._embedder.ready() else "Triton does not serve the model."
        if triton == "ok" and self._liveness is not None:
            triton = await self._liveness() or "ok"
        try:
            location = Location(self._collection, card.id, card.dimension)
            status = await self._match.status(location)
        except Unavailable as error:
            return {"stages": stages, "triton": triton, "gallery": str(error)}
        return {"stages": stages, "triton": triton, "gallery": status}

    async def _stages(self) -> str:
        """Whether decoding and detection have come up. Later Serve looks after their replicas, and
        a check that waits in a queue behind photos would measure load, not health."""
        if not self._up:
            both = asyncio.gather(self._decode.ready(), self._detect.ready())
            try:
                await asyncio.wait_for(both, self._starting_s)
            except asyncio.TimeoutError:
                return "A stage is still starting."
            except Unavailable as error:
                return str(error)
            self._up = True
        return "ok"


def is_fine(check: str | GalleryStatus) -> bool:
    """Whether a part of `Readiness.checks` is without any problem."""
    if isinstance(check, GalleryStatus):
        return check.loaded and check.problem is None
    return check == "ok"


def what_is_missing(checks: Mapping[str, str | GalleryStatus]) -> str | None:
    """The first part of `Readiness.checks` that keeps the service from working; None: none."""
    for part in ("stages", "triton"):
        if checks[part] != "ok":
            return str(checks[part])
    gallery = checks["gallery"]
    if not isinstance(gallery, GalleryStatus):
        return gallery
    return None if gallery.loaded else gallery.problem or "The gallery is not loaded yet."
