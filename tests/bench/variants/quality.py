"""Weights of a photo in a person's centroid, from 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.metrics import Floats
from serving.vision.records import CROP_SIZE
from tests.bench.variants.crops import Face

_LEAST = 0.05


def by_score(faces: Sequence[Face]) -> Floats:
    """Weights by score: 0 at the lowest one that counts as a face, 1 at a score of 1."""
    return _within((np.array([face.score for face in faces]) - 0.9) / 0.1)


def sizes(faces: Sequence[Face]) -> Floats:
    """Height of the box in pixels."""
    return np.array([float(face.box[3] - face.box[1]) for face in faces])


def by_size(heights: Floats) -> Floats:
    """Weights by size, up to that of the crop: a larger face adds no detail."""
    return _within(heights / CROP_SIZE)


def by_sharpness(crops: NDArray[np.uint8]) -> Floats:
    """Weights of crops (N, 3, 160, 160) by the deviation of the Laplacian, over its median."""
    grey = crops.astype(np.float64).mean(axis=1)
    inner = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    sharp = (around - 4 * inner).std(axis=(1, 2))
    return _within(sharp / max(float(np.median(sharp)), 1e-9))


def by_pose(faces: Sequence[Face]) -> Floats:
    """Weights by the distance of the nose from the middle of the eyes, along their line."""
    parts = []
    for face in faces:
        left, right, nose = face.landmarks[:3].astype(np.float64)
        axis = right - left
        aside = (nose - (left + right) / 2) @ axis / max(float(axis @ axis), 1e-9)
        parts.append(1 - 2 * abs(float(aside)))
    return _within(np.array(parts))


def _within(values: Floats) -> Floats:
    return np.clip(values, _LEAST, 1)
