"""Photos of people and their embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serving.model.card import ModelCard

if TYPE_CHECKING:
    # torch takes seconds to load.
    from serving.operations.offline import PhotoEmbeddings


class NotMeasurable(Exception):
    """Photos or a model with which nothing can be measured; the message says why."""


@dataclass(frozen=True)
class Sample:
    """n photos of P people.

    Attributes:
        ids: int64 (P,), ascending.
        person: intp (n,), ascending: the person on each photo, as a place in ``ids``.
        vectors: float32 (n, D), unit length; zeros where there is no face.
        problems: the reason why a photo has no embedding; None: it has one.
    """

    ids: NDArray[np.int64]
    person: NDArray[np.intp]
    photos: Sequence[Path]
    vectors: NDArray[np.float32]
    problems: Sequence[str | None]

    @property
    def usable(self) -> NDArray[np.bool_]:
        return np.array([problem is None for problem in self.problems], bool)


def sample_of(photos: Mapping[int, Sequence[Path]], embeddings: PhotoEmbeddings) -> Sample:
    """The sample of these photos by id, ascending, with their embeddings in the same order."""
    person = np.arange(len(photos)).repeat([len(own) for own in photos.values()])
    return Sample(
        np.array(list(photos), np.int64),
        person,
        [photo for own in photos.values() for photo in own],
        embeddings.vectors,
        [None if problem is None else problem.detail for problem in embeddings.problems],
    )


def read_card(path: Path) -> ModelCard:
    """Raises NotMeasurable when ``path`` is no card of a traced model."""
    try:
        return ModelCard.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotMeasurable(f"{path} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:
        # The card of a model that is not traced yet has no id.
        raise NotMeasurable(f"{path} is no card of a traced model: {error}") from None
