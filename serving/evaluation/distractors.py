"""Distractors: people of a gallery's export, added to every gallery of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.evaluation.sample import NotMeasurable
from serving.gallery import Kind
from serving.gallery.interchange import ExportFile
from serving.gallery.segment import normalised


@dataclass(frozen=True)
class Distractors:
    """``centroids`` float16 (M, D), unit length; ``left_out``: people with an id of the sample."""

    centroids: NDArray[np.float16]
    left_out: int


def read_distractors(path: Path, model: str, ids: NDArray[np.int64]) -> Distractors:
    """The people of an export, without those with one of ``ids``, who would be enrolled twice.

    Raises:
        NotMeasurable: another model made its embeddings.
        InvalidInput: it is no export of a gallery.
    """
    export = ExportFile.open(path)
    if export.model != model:
        raise NotMeasurable(
            f"The embeddings of {path.name} were made by {export.model}, and not by {model}."
        )
    parts = []
    for segment in export.segments(Kind.PUT, 0.0):
        counts = segment.count.astype(np.intp)
        starts = np.cumsum(counts) - counts
        sums = np.add.reduceat(segment.embeddings.astype(np.float32), starts, axis=0)
        parts.append(normalised(sums[~np.isin(segment.id, ids)]).astype(np.float16))
    centroids = np.concatenate(parts) if parts else np.empty((0, 0), np.float16)
    return Distractors(centroids, len(export.ids) - len(centroids))
