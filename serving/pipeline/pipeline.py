"""One request through the stages: decode, detect, embed, match."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from serving.errors import ServingError
from serving.gallery.location import Location
from serving.matching.ambiguity import COMPARED, as_likely, margin_of
from serving.matching.quality import lookup_faults
from serving.matching.records import GalleryStatus, Matches
from serving.matching.threshold import threshold_of
from serving.model.card import ModelCard
from serving.model.embedder import Embedder
from serving.model.liveness import LivenessModel, is_attack
from serving.pipeline import units
from serving.pipeline.enrolment import Enroller
from serving.pipeline.extraction import Extracted, Extractor
from serving.pipeline.freshness import Versions
from serving.pipeline.readiness import Readiness
from serving.pipeline.reports import EnrolmentReport, Identified
from serving.pipeline.timings import Timings
from serving.settings import (
    EnrolmentSettings,
    LimitSettings,
    LivenessSettings,
    LookupSettings,
    MatchSettings,
    RetentionSettings,
)
from serving.stages import refs
from serving.stages.interfaces import Decode, Detect, Match
from serving.vision.align import Alignment, alignment_of
from serving.vision.records import Faces, Photo
from serving.vision.surroundings import Surroundings

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
        liveness: tells faces from attacks, by the settings ``live``; None: nothing does.
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
        liveness: LivenessModel | None = None,
        live: LivenessSettings | None = None,
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
        self._extractor = Extractor(embedder, liveness, live)
        checked = live is None or live.enrolment
        self._enroller = Enroller(
            partial(self.faces, checked=checked),
            partial(self._extractor.extract, checked=checked),
            embedder,
            match,
            limits,
            enrolment or EnrolmentSettings(),
            seen,
            keeping or RetentionSettings(),
        )
        self._crowds = asyncio.Semaphore(_CROWDS_AT_ONCE)
        self._readiness = Readiness(
            decode,
            detect,
            match,
            embedder,
            collection,
            detector=detector,
            liveness=self._extractor.problem,
        )

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
            extracted = await self.extract([faces], timings)
            probes = extracted.vectors
            at_least = await timings.of("gallery", version)

            async def search() -> Matches:
                matches = await timings.made(
                    "match", self._match.identify(location, probes, compared, at_least)
                )
                return await matches.get()

            matches = await refs.kept(search)
            cosine = threshold_of(threshold, self._matching, card, matches.people)
            poor = lookup_faults(faces, probes, card, self._lookup)
            # Whoever is nearest to a poor face is so by chance, and to an attack by intent.
            candidates = tuple(
                () if of_face or is_attack(live) else found
                for of_face, live, found in zip(
                    poor, extracted.liveness, matches.candidates, strict=True
                )
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
                liveness=extracted.liveness,
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
            force: enrol whatever the quality of the faces, and whatever conflicts there are; but no
                face that is taken for an attack.
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

    async def extract(self, faces: Sequence[Faces], timings: Timings) -> Extracted:
        """Embeddings of `faces` that were cut for a card, and whether they are live; see
        `serving.pipeline.extraction.Extractor.extract`."""
        return await self._extractor.extract(faces, timings)

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
        checked: bool = True,
    ) -> Faces:
        """The faces of one image file, largest first. Needs no gallery, and without a card no
        Triton.

        Args:
            most: how many; None, or more than the settings allow: as many as they do.
            card: of the model that the crops are for; None: they are for none.
            score: of the detector, for a face to count.
            checked: the faces are for a card, and for the liveness model, if there is one.

        Raises:
            Unavailable: the liveness model is away.
        """
        alignment = None if card is None else alignment_of(card.preprocessing, self._detector)
        surroundings = (
            await self._extractor.surroundings() if card is not None and checked else None
        )
        allowed = self._limits.max_faces
        wanted = allowed if most is None else min(most, allowed)
        sought = allowed if score else wanted

        async def look() -> Faces:
            file: refs.Ref[bytes] = await refs.put(data, len(data))
            photo = await timings.made("decode", self._decode.decode(file))
            faces = await self._found(photo, sought, (alignment, surroundings), timings)
            return await faces.get()

        outcome, count, cost = "error", 0, 1
        meter = units.current()
        try:
            async with meter.photo(timings):
                faces = await refs.kept(look)
            count, cost = faces.found, units.units_of(faces)
            outcome = "faces" if count else "no-face"
            faces = faces.scored(score).first(wanted) if score else faces
            meter.faces += len(faces)
            return faces
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
        self,
        photo: refs.Ref[Photo],
        most: int,
        crops: tuple[Alignment | None, Surroundings | None],
        timings: Timings,
    ) -> refs.Ref[Faces]:
        async def detect() -> refs.Ref[Faces]:
            faces = await timings.of("detect", self._detect.detect(photo, most, *crops))
            if faces is not None:
                return faces
            async with self._crowds:
                return await timings.of("detect", self._detect.detect_crowd(photo, most, *crops))

        return timings.worked("detect", await detect())
