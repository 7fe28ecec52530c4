"""Verification: whether two photos show the same person. Needs no gallery."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from serving.errors import SeveralFaces, TooLarge, UnsupportedImage
from serving.matching.quality import lookup_faults
from serving.model.card import ModelCard
from serving.model.liveness import Liveness, all_live
from serving.pipeline.gather import all_of
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.reports import NO_FACE, NoFaceToCompare, PhotoReport
from serving.pipeline.timings import Timings
from serving.settings import QualityLimits
from serving.vision.quality import Fault

T = TypeVar("T")


@dataclass(frozen=True)
class Compared:
    """The largest faces of two photos, and the cosine of their embeddings.

    Attributes:
        faults: of each of the two faces, why it is too poor to compare.
        liveness: of each of them; None: it was not checked.
    """

    photos: Sequence[PhotoReport]
    similarity: float
    card: ModelCard
    faults: Sequence[Sequence[Fault]]
    liveness: Sequence[Liveness | None] = ()

    @property
    def sufficient(self) -> bool:
        """Whether both faces are good enough to say whether they are of one person, and neither is
        taken for an attack."""
        return not any(self.faults) and all_live(self.liveness)


async def compare(
    pipeline: Pipeline, images: Mapping[str, bytes], limits: QualityLimits, timings: Timings
) -> Compared:
    """Compare the largest face of one photo with that of the other.

    Args:
        images: two image files, by the names that errors use for them.
        limits: what the faces have to show.

    Raises:
        NoFaceToCompare: a photo shows no face.
        UnsupportedImage, TooLarge: a photo cannot be decoded; the text says which.
    """
    card = await pipeline.card()
    faces = await all_of(
        with_photo_name(name, pipeline.faces(image, timings, 1, card))
        for name, image in images.items()
    )
    photos = [
        PhotoReport(f, f.found, None) if len(f) else PhotoReport(None, 0, NO_FACE) for f in faces
    ]
    if not all(photo.used for photo in photos):
        raise NoFaceToCompare(dict(zip(images, photos, strict=True)))
    extracted = await pipeline.extract(faces, timings)
    vectors = extracted.vectors
    poor = [
        lookup_faults(face, vectors[n : n + 1], card, limits)[0] for n, face in enumerate(faces)
    ]
    similarity = float(np.clip(vectors[0] @ vectors[1], -1, 1))
    return Compared(photos, similarity, card, poor, extracted.liveness)


async def compare_all(
    pipeline: Pipeline,
    source: bytes,
    target: bytes,
    limits: QualityLimits,
    timings: Timings,
    *,
    names: tuple[str, str],
    most: int | None,
    score: float,
) -> list[Compared]:
    """Compare the only face of one photo with each face of another, largest first.

    Args:
        limits: what the faces have to show.
        names: what errors call the two photos.
        most: faces of the ``target``; None: as many as the settings allow.
        score: of the detector, for a face to count.

    Raises:
        NoFaceToCompare: a photo shows no face.
        SeveralFaces: the ``source`` shows more than one.
        UnsupportedImage, TooLarge: a photo cannot be decoded; the text says which.
    """
    card = await pipeline.card()
    one, others = await all_of(
        [
            with_photo_name(names[0], pipeline.faces(source, timings, None, card, score)),
            with_photo_name(names[1], pipeline.faces(target, timings, most, card, score)),
        ]
    )
    reports = {
        name: PhotoReport(f, f.found, None) if len(f) else PhotoReport(None, 0, NO_FACE)
        for name, f in zip(names, (one, others), strict=True)
    }
    if not all(photo.used for photo in reports.values()):
        raise NoFaceToCompare(reports)
    if one.found > 1:
        raise SeveralFaces(f"{names[0]} shows more than one face.")
    extracted = await pipeline.extract([one, others], timings)
    vectors, (live, *each_live) = extracted.vectors, extracted.liveness
    (poor,) = lookup_faults(one, vectors[:1], card, limits)
    each = lookup_faults(others, vectors[1:], card, limits)
    cosines = np.clip(vectors[1:] @ vectors[0], -1, 1).tolist()
    return [
        Compared(
            (reports[names[0]], PhotoReport(others.some([n]), others.found, None)),
            cosine,
            card,
            (poor, each[n]),
            (live, each_live[n]),
        )
        for n, cosine in enumerate(cosines)
    ]


async def with_photo_name(photo: str, work: Awaitable[T]) -> T:
    """The result of ``work``; an error about the photo names it."""
    try:
        return await work
    except (TooLarge, UnsupportedImage) as error:
        raise type(error)(f"{photo}: {error}") from error
