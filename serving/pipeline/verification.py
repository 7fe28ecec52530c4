"""Verification: whether two photos show the same person. Needs no gallery."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from serving.errors import NoUsableFace, TooLarge, UnsupportedImage
from serving.model.card import ModelCard
from serving.pipeline.gather import all_of
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.reports import PhotoReport
from serving.pipeline.timings import Timings

T = TypeVar("T")


@dataclass(frozen=True)
class Compared:
    """The largest faces of two photos, and the cosine of their embeddings."""

    photos: Sequence[PhotoReport]
    similarity: float
    card: ModelCard


class NoFaceToCompare(NoUsableFace):
    """One of the two photos shows no face, or both; ``photos`` says which."""

    photos: Sequence[PhotoReport] = ()


async def compare(pipeline: Pipeline, images: Mapping[str, bytes], timings: Timings) -> Compared:
    """Compare the largest face of one photo with that of the other.

    Args:
        images: two image files, by the names that errors use for them.

    Raises:
        NoFaceToCompare: a photo shows no face.
        UnsupportedImage, TooLarge: a photo cannot be decoded; the text says which.
    """
    card = await pipeline.card()
    faces = await all_of(
        with_photo_name(name, pipeline.faces(image, timings)) for name, image in images.items()
    )
    photos = [
        PhotoReport(f.first(1), len(f), None)
        if len(f)
        else PhotoReport(None, 0, "No face was found.")
        for f in faces
    ]
    without = [name for name, f in zip(images, faces, strict=True) if not len(f)]
    if without:
        error = NoFaceToCompare(f"No face was found in {' and '.join(without)}.")
        error.photos = photos
        raise error
    vectors = await pipeline.embed(np.concatenate([f.crops[:1] for f in faces]), timings)
    return Compared(photos, float(np.clip(vectors[0] @ vectors[1], -1, 1)), card)


async def with_photo_name(photo: str, work: Awaitable[T]) -> T:
    """The result of ``work``; an error about the photo names it."""
    try:
        return await work
    except (TooLarge, UnsupportedImage) as error:
        raise type(error)(f"{photo}: {error}") from error
