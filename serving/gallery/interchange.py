"""Galleries as files: one safetensors file for many people.

| tensor | dtype, shape | holds |
|---|---|---|
| `ids` | int64 (N,) | each once |
| `counts` | int32 (N,) | photos of each person, at least one; R in all |
| `embeddings` | float32 or float16 (R, D) | unit vectors in the order of `ids` |

Metadata: `format` = `faces-export/1`, `model` = the model id, and optionally `names`, a JSON object
from id to name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from serving.errors import BadRequest, ModelMismatch
from serving.gallery.gallery import Gallery
from serving.gallery.segment import Segment

FORMAT = "faces-export/1"
_PEOPLE_AT_ONCE = 50_000


@dataclass(frozen=True)
class Export:
    """The contents of such a file; names by id."""

    model: str
    ids: NDArray[np.int64]
    counts: NDArray[np.int32]
    embeddings: NDArray[np.float32]
    names: dict[int, str]


def read_export(path: Path) -> Export:
    """Raises BadRequest, with a sentence that names the file, when it is no such file."""
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise BadRequest(f"{path.name} is no export of a gallery.")
            export = Export(
                model=metadata["model"],
                ids=file.get_tensor("ids"),
                counts=file.get_tensor("counts"),
                embeddings=file.get_tensor("embeddings").astype(np.float32),
                names={int(k): str(v) for k, v in json.loads(metadata.get("names", "{}")).items()},
            )
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror or error}.") from error
    except (SafetensorError, KeyError, ValueError, AttributeError) as error:
        raise BadRequest(f"{path.name} is no export of a gallery: {error}.") from error
    if len(np.unique(export.ids)) != len(export.ids):
        raise BadRequest(f"{path.name} holds an id twice.")
    if export.counts.shape != export.ids.shape or export.counts.sum() != len(export.embeddings):
        raise BadRequest(f"{path.name}: the counts do not add up to the number of embeddings.")
    # float16 leaves a length of 1 to three digits; the gallery keeps unit vectors.
    lengths = np.linalg.norm(export.embeddings, axis=1, keepdims=True)
    np.divide(export.embeddings, lengths, out=export.embeddings, where=lengths > 0)
    return export


def import_people(gallery: Gallery, model: str, export: Export) -> Iterator[tuple[int, int]]:
    """Put everybody into the gallery, in bulk segments.

    Yields:
        (people so far, the gallery's version that contains them), after each commit.

    Raises:
        ModelMismatch: they are embeddings of another model than ``model``.
        BadRequest: an embedding is no unit vector of the gallery's dimension.
    """
    if export.model != model:
        raise ModelMismatch(
            f"The file holds embeddings of {export.model}, but the gallery is of {model}: the two "
            "cannot be compared."
        )
    rows = np.concatenate([[0], np.cumsum(export.counts, dtype=np.int64)])
    for start in range(0, len(export.ids), _PEOPLE_AT_ONCE):
        end = min(start + _PEOPLE_AT_ONCE, len(export.ids))
        ids = export.ids[start:end]
        names = [export.names.get(i) for i in ids.tolist()] if export.names else None
        try:
            segment = Segment.of_people(
                ids,
                export.counts[start:end],
                export.embeddings[rows[start] : rows[end]],
                gallery.now(),
                names,
            )
            version = gallery.commit_segment(segment)
        except ValueError as error:
            raise BadRequest(f"The file cannot be imported: {error}.") from error
        yield end, version
