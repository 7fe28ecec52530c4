"""Enrolment: photos of a person -> the largest face of each -> the gallery."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import TooLarge, UnsupportedImage
from serving.gallery.location import Location
from serving.matching.quality import uninformative
from serving.matching.records import Enrolment, Refused
from serving.model.card import ModelCard
from serving.model.embedder import Embedder
from serving.model.liveness import is_attack
from serving.pipeline.extraction import Extracted
from serving.pipeline.gather import all_of
from serving.pipeline.keeping import default_end
from serving.pipeline.reports import (
    NO_FACE,
    NOT_LIVE,
    NOT_LIVE_REASON,
    SEVERAL_FACES,
    ConflictsRefused,
    EnrolmentReport,
    NoFaceInAny,
    PhotoReport,
)
from serving.pipeline.timings import Timings
from serving.settings import PHOTOS_AT_ONCE, EnrolmentSettings, LimitSettings, RetentionSettings
from serving.stages.interfaces import Match
from serving.vision.quality import UNINFORMATIVE, enrolment_faults
from serving.vision.records import Faces

_SEVERAL = "More than one face was found."


class Enroller:
    """Enrols people from photos.

    Args:
        faces: finds the faces of one image file, largest first, and of that number; the crops are
            those of the model with this card.
        extract: the embeddings of faces of some photos, and whether they are live.
        seen: see `serving.pipeline.pipeline.Pipeline`.
    """

    def __init__(
        self,
        faces: Callable[[bytes, Timings, int, ModelCard], Awaitable[Faces]],
        extract: Callable[[Sequence[Faces], Timings], Awaitable[Extracted]],
        embedder: Embedder,
        match: Match,
        limits: LimitSettings,
        settings: EnrolmentSettings,
        seen: Callable[[str, int], None],
        keeping: RetentionSettings,
    ) -> None:
        self._faces = faces
        self._extract = extract
        self._embedder = embedder
        self._match = match
        self._limits = limits
        self._settings = settings
        self._seen = seen
        self._keeping = keeping

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
        """See `serving.pipeline.pipeline.Pipeline.enrol`."""
        card = (await self._embedder.served()).card
        free = asyncio.Semaphore(PHOTOS_AT_ONCE)

        async def look(data: bytes) -> PhotoReport:
            async with free:
                return await self._enrollable(data, timings, card, force, only_face)

        photos: Sequence[PhotoReport] = await all_of(look(data) for data in images)
        usable = [p.face for p in photos if p.used and p.face is not None]
        if not usable:
            raise NoFaceInAny(photos)
        photos, embeddings = _live(photos, await self._extract(usable, timings))
        if not force:
            photos, embeddings = self._informative(photos, embeddings, card)
        enrolment = Enrolment(
            id=-1 if person is None else person,
            by_name=person is None,
            embeddings=embeddings,
            card=card,
            name=name,
            append=append,
            refuse=self._settings.conflicts == "refuse" and not force,
            retention=retention or {},
            default_end=default_end(self._keeping, collection, retention or {}),
        )
        location = Location(collection, card.id, card.dimension)
        enrolled = await timings.of("match", self._match.enrol(location, enrolment))
        if isinstance(enrolled, Refused):
            raise ConflictsRefused(photos, enrolled.conflicts)
        return EnrolmentReport(photos, enrolled, card)

    def _informative(
        self, photos: Sequence[PhotoReport], embeddings: NDArray[np.float32], card: ModelCard
    ) -> tuple[Sequence[PhotoReport], NDArray[np.float32]]:
        """The reports, and the embeddings of faces that show something."""
        blank = uninformative(embeddings, card, self._settings)
        of_used = iter(blank)
        photos = [
            dataclasses.replace(p, reason=UNINFORMATIVE.sentence, gate=UNINFORMATIVE.gate)
            if p.used and next(of_used)
            else p
            for p in photos
        ]
        if all(blank):
            raise NoFaceInAny(photos)
        return photos, embeddings[~np.array(blank)]

    async def _enrollable(
        self,
        data: bytes,
        timings: Timings,
        card: ModelCard,
        force: bool,
        only_face: float | None,
    ) -> PhotoReport:
        if len(data) > self._limits.max_image_bytes:
            self._seen(TooLarge.type, 0)
            return PhotoReport(None, 0, "The file is larger than this service takes.")
        try:
            if only_face is None:
                face = await self._faces(data, timings, 1, card)
            else:
                found = await self._faces(data, timings, self._limits.max_faces, card)
                face = found.scored(only_face)
        except (UnsupportedImage, TooLarge) as error:
            return PhotoReport(None, 0, str(error))
        if not len(face):
            return PhotoReport(None, 0, NO_FACE)
        if only_face is not None and face.found > 1:
            return PhotoReport(face.first(1), face.found, _SEVERAL, SEVERAL_FACES)
        flaws = () if force else enrolment_faults(face.quality[0], self._settings)
        for flaw in flaws:
            return PhotoReport(face, face.found, flaw.sentence, flaw.gate)
        return PhotoReport(face, face.found, None)


def _live(
    photos: Sequence[PhotoReport], extracted: Extracted
) -> tuple[Sequence[PhotoReport], NDArray[np.float32]]:
    """The reports, and the embeddings of faces that are not taken for attacks.

    Args:
        extracted: of the photos that are used so far.

    Raises:
        NoFaceInAny: all are.
    """
    verdicts = iter(extracted.liveness)
    reports = []
    for photo in photos:
        verdict = next(verdicts) if photo.used else None
        report = dataclasses.replace(photo, liveness=verdict)
        if is_attack(verdict):
            report = dataclasses.replace(report, reason=NOT_LIVE_REASON, gate=NOT_LIVE)
        reports.append(report)
    live = [not is_attack(verdict) for verdict in extracted.liveness]
    if not any(live):
        raise NoFaceInAny(reports)
    return reports, extracted.vectors[np.array(live)]
