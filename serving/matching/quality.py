"""The quality of faces that were embedded: of their crops, and of what the model made of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serving.model.card import ModelCard
from serving.model.degenerate import degenerate_of
from serving.settings import QualityLimits
from serving.vision.quality import UNINFORMATIVE, Fault, faults
from serving.vision.records import Faces


def lookup_faults(
    faces: Faces, vectors: NDArray[np.float32], card: ModelCard, limits: QualityLimits
) -> tuple[tuple[Fault, ...], ...]:
    """For each face why it is too poor to say who it is; nothing: it is good enough.

    Args:
        vectors: embeddings of the faces, float32 (F, D), by the model of ``card``.
    """
    blank = uninformative(vectors, card, limits)
    return tuple(
        (*faults(quality, limits), *((UNINFORMATIVE,) if shows_nothing else ()))
        for quality, shows_nothing in zip(faces.quality, blank, strict=True)
    )


def uninformative(
    vectors: NDArray[np.float32], card: ModelCard, limits: QualityLimits
) -> list[bool]:
    """Whether embeddings (N, D) are those of faces that show nothing. Never for a model that was
    not measured."""
    known = degenerate_of(card.id)
    if known is None or not len(vectors):
        return [False] * len(vectors)
    blank: list[bool] = (known.blankness(vectors) > limits.max_blankness).tolist()
    return blank
