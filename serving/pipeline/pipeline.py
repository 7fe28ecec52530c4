"""One request through the stages: decode, detect, embed, match."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import ServingError
from serving.gallery.location import Location
from serving.matching.ambiguity import COMPARED, as_likely, margin_of
from serving.matching.quality import lookup_faults
from serving.matching.records import GalleryStatus, Matches
from serving.matching.threshold import threshold_of
from serving.model.card import ModelCard
from serving.model.embedder import Embedder
from serving.pipeline import units
from serving.pipeline.enrolment import Enroller
from serving.pipeline.freshness import Versions
from serving.pipeline.readiness import Readiness
from serving.pipeline.reports import EnrolmentReport, Identified
from serving.pipeline.timings import Timings
from serving.settings import (
    EnrolmentSettings,
    LimitSettings,
    LookupSettings,
    MatchSettings,
    RetentionSettings,
)
from serving.stages import refs
from serving.stages.interfaces import Decode, Detect, Match
from serving.vision.align import Alignment, alignment_of
from serving.vision.records import Faces, Photo

# Photos of crowds that wait for detection at once: others of them wait here, where they hold no
# place of the stage.
_CROWDS_AT_ONCE = 2


class Pipeline:
    """The stages behind one door.

    Args:
        collection: the one whose gallery has to be loaded for the service to be ready.
        detector: the face detector, which the served model has to fit to.
        seen: called once for each photo with its outcome and number of faces. The outcome is
            ``faces``, ``no-face``, ``given-up``, or the type of an error.
    """

    def __init__(
        self,
        decode: Decode,
        detect: Detect,
        match: Match,
        *,
        embedder: Embedder,
        versions: Versions,
        limits: LimitSettings,
        matching: MatchSettings,
        lookup: LookupSettings,
        collection: str,
        detector: str = "mtcnn",
        seen: Callable[[str, int], None] = lambda outcome, faces: None,
        enrolment: EnrolmentSettings | None = None,
        keeping: RetentionSettings | None = None,
    ) -> None:
        self._decode = decode
        self._detect = detect
        self._match = match
        self._matching = matching
        self._lookup = lookup
        self._embedder = embedder
        self._detector = detector
        self._versions = versions
        self._limits = limits
        self._seen = seen
        self._enroller = Enroller(
            self.faces,
            embedder,
            match,
            limits,
            enrolment or EnrolmentSettings(),
            seen,
            keeping or RetentionSettings(),
        )
        self._crowds = asyncio.Semaphore(_CROWDS_AT_ONCE)
        self._readiness = Readiness(decode, detect, match, embedder, collection, detector=detector)

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
        """The faces of one image file and who they are, largest first.

        The gallery is at least as new as it was when this was called.

        Args:
            max_faces, score: see `faces`.
            threshold: the caller's, see `serving.matching.threshold`.
        """
        card = (await self._embedder.served()).card
        margin = margin_of(self._matching, card)
        compared = top_k if margin is None else max(top_k, COMPARED)
        # Runs beside the other stages, so that it adds no time.
        location = Location(collection, card.id, card.dimension)
        version = asyncio.create_task(self._versions.now(location))
        try:
            faces = await self.faces(data, timings, max_faces, card, score)
            probes = await timings.of("embed", self._embedder.embed(faces.crops))
            at_least = await timings.of("gallery", version)

            async def search() -> Matches:
                matches = await timings.made(
                    "match", self._match.identify(location, probes, compared, at_least)
                )
                return await matches.get()

            matches = await refs.kept(search)
            cosine = threshold_of(threshold, self._matching, card, matches.people)
            poor = lookup_faults(faces, probes, card, self._lookup)
            # Whoever is nearest to such a face is so by chance.
            candidates = tuple(
                () if of_face else found
                for of_face, found in zip(poor, matches.candidates, strict=True)
            )
            ambiguous = {
                place: likely
                for place, found in enumerate(candidates)
                if (likely := as_likely(found, cosine, card, matches.people, margin))
            }
            return Identified(
                faces,
                dataclasses.replace(matches, candidates=tuple(c[:top_k] for c in candidates)),
                card,
                cosine,
                poor,
                ambiguous,
                names_ambiguous=self._matching.ambiguous == "nearest",
            )
        finally:
            version.cancel()

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
        """Enrol the largest face of each photo.

        Args:
            person: None: whoever has the ``name``, or somebody new; see
                `serving.matching.subjects`.
            only_face: a photo has to show one face alone, of those that the detector gave this
                score at least; None: it may show others beside the largest.
            force: enrol whatever the quality of the faces, and whatever conflicts there are.
            retention: details of `serving.gallery.retention` that change; None: none does.

        Raises:
            NoFaceInAny: no photo is usable; nothing was written.
            ConflictsRefused: there are conflicts, and the settings refuse them; nothing was
                written.
        """
        return await self._enroller.enrol(
            images,
            collection=collection,
            person=person,
            name=name,
            append=append,
            force=force,
            timings=timings,
            retention=retention,
            only_face=only_face,
        )

    async def card(self) -> ModelCard:
        """The card of the served model."""
        return (await self._embedder.served()).card

    async def embed(self, crops: NDArray[np.uint8], timings: Timings) -> NDArray[np.float32]:
        """Embeddings of face crops; see `serving.model.embedder.Embedder.embed`."""
        return await timings.of("embed", self._embedder.embed(crops))

    async def ready(self) -> dict[str, str | GalleryStatus]:
        """The state of what the service depends on; see `Readiness.checks`."""
        return await self._readiness.checks()

    async def faces(
        self,
        data: bytes,
        timings: Timings,
        most: int | None = None,
        card: ModelCard | None = None,
        score: float = 0.0,
    ) -> Faces:
        """The faces of one image file, largest first. Needs neither Triton nor the gallery.

        Args:
            most: how many; None, or more than the settings allow: as many as they do.
            card: of the model that the crops are for; None: they are for none.
            score: of the detector, for a face to count.
        """
        alignment = None if card is None else alignment_of(card.preprocessing, self._detector)
        allowed = self._limits.max_faces
        wanted = allowed if most is None else min(most, allowed)
        sought = allowed if score else wanted

        async def look() -> Faces:
            file: refs.Ref[bytes] = await refs.put(data, len(data))
            photo = await timings.made("decode", self._decode.decode(file))
            faces = await self._found(photo, sought, alignment, timings)
            return await faces.get()

        outcome, count, cost = "error", 0, 1
        meter = units.current()
        try:
            async with meter.photo():
                faces = await refs.kept(look)
            count, cost = faces.found, units.units_of(faces)
            outcome = "faces" if count else "no-face"
            return faces.scored(score).first(wanted) if score else faces
        except ServingError as error:
            outcome = error.type
            raise
        except asyncio.CancelledError:
            outcome = "given-up"
            raise
        finally:
            meter.add(cost)
            self._seen(outcome, count)

    async def _found(
        self, photo: refs.Ref[Photo], most: int, alignment: Alignment | None, timings: Timings
    ) -> refs.Ref[Faces]:
        async def detect() -> refs.Ref[Faces]:
            faces = await timings.of("detect", self._detect.detect(photo, most, alignment))
            if faces is not None:
                return faces
            async with self._crowds:
                return await timings.of("detect", self._detect.detect_crowd(photo, most, alignment))

        return timings.worked("detect", await detect())
