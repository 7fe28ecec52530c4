"""Photos of people and their embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serving.model.card import ModelCard
from serving.vision.records import Quality

if TYPE_CHECKING:
    # The detector and the model take seconds to load.
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
        reasons: the same as a code, such as ``no-face``.
        quality: of the face on each photo; None: there is none, or it was not measured.
        poor: the gate of look-up that a face does not pass, so that the service says that it is too
            poor to say who it is; None: there is none.
        refused: the gate of enrolment that a face does not pass.
        names: what each person's folder is called, for the operator; empty: by the id.
    """

    ids: NDArray[np.int64]
    person: NDArray[np.intp]
    photos: Sequence[Path]
    vectors: NDArray[np.float32]
    problems: Sequence[str | None]
    reasons: Sequence[str | None] = ()
    quality: Sequence[Quality | None] = ()
    poor: Sequence[str | None] = ()
    refused: Sequence[str | None] = ()
    names: Sequence[str] = ()

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Photos with an embedding."""
        return np.array([problem is None for problem in self.problems], bool)

    @property
    def answerable(self) -> NDArray[np.bool_]:
        """Photos that are answered when they are looked up; for the others there is no name and no
        candidate."""
        return self.usable & _none_of(self.poor, len(self.problems))

    @property
    def enrollable(self) -> NDArray[np.bool_]:
        """Photos that an enrolment takes, without ``force``."""
        return self.usable & _none_of(self.refused, len(self.problems))

    def name_of(self, person: int) -> str:
        """What the folder of the person at that place is called."""
        return self.names[person] if self.names else str(self.ids[person])


def _none_of(gates: Sequence[str | None], photos: int) -> NDArray[np.bool_]:
    return np.array([gate is None for gate in gates] if gates else [True] * photos, bool)


def sample_of(
    photos: Mapping[int, Sequence[Path]],
    embeddings: PhotoEmbeddings,
    names: Mapping[int, str] | None = None,
) -> Sample:
    """The sample of these photos by id, ascending, with their embeddings in the same order."""
    person = np.arange(len(photos)).repeat([len(own) for own in photos.values()])
    return Sample(
        np.array(list(photos), np.int64),
        person,
        [photo for own in photos.values() for photo in own],
        embeddings.vectors,
        [None if problem is None else problem.detail for problem in embeddings.problems],
        [None if problem is None else problem.reason for problem in embeddings.problems],
        embeddings.quality,
        embeddings.poor,
        embeddings.refused,
        [(names or {}).get(person, str(person)) for person in photos],
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
