"""Photos of people to embeddings in this process, without the service.

Decoding, detection and cropping are the functions that the stages call. The embeddings come from a
traced model, run by TorchScript or OpenVINO as Triton runs it, or from a Triton. Results are kept
in memory only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.errors import ModelMismatch, ServingError
from serving.matching.quality import lookup_faults, uninformative
from serving.model import runtime
from serving.model.card import ModelCard
from serving.model.embedder import Embedder
from serving.model.repository import ModelError, TracedModel
from serving.settings import AppArgs, TritonSettings
from serving.vision.align import alignment_of
from serving.vision.decode import decode
from serving.vision.faces import detector_of, find_faces
from serving.vision.quality import UNINFORMATIVE, enrolment_faults
from serving.vision.records import Faces, Photo, Quality

T = TypeVar("T")

_BATCH = 16

NO_FACE = "no-face"
SEVERAL_FACES = "several-faces"
UNREADABLE = "unreadable"


class EmbeddingModel(Protocol):
    """Makes embeddings of crops; its card identifies the model."""

    @property
    def card(self) -> ModelCard: ...

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Crops, uint8 RGB (N, 3, S, S), to embeddings, float32 (N, D), unit length.

        Raises:
            ServingError: the model is away, or another one is served now.
        """


class LocalModel:
    """A traced model of the local repository, run in this process.

    Raises:
        ModelError: it is not there, not traced, damaged, or cannot be run.
    """

    def __init__(self, repository: Path, name: str) -> None:
        self.card = TracedModel.read(repository, name).card
        self._embed = runtime.load(repository / name)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.concatenate(
            [self._embed(crops[start : start + _BATCH]) for start in range(0, len(crops), _BATCH)]
        )


class TritonModel:
    """A model that a Triton serves. Raises Unavailable when it does not."""

    def __init__(self, settings: TritonSettings) -> None:
        self._embedder = Embedder(settings)
        self._loop = asyncio.new_event_loop()
        self.card = self._run(self._embedder.served()).card

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        vectors = self._run(self._embedder.embed(crops))
        served = self._run(self._embedder.served()).card.id
        if served != self.card.id:
            raise ModelMismatch(f"Triton now serves {served}, and no longer {self.card.id}.")
        return vectors

    def _run(self, call: Awaitable[T]) -> T:
        return self._loop.run_until_complete(call)

    def close(self) -> None:
        self._run(self._embedder.close())
        self._loop.close()


@dataclass(frozen=True)
class LeftOut:
    """A photo that is not used, and why.

    Attributes:
        reason: one of those above, or the type of an error, such as ``unsupported-image``.
        detail: a sentence for people.
    """

    photo: Path
    reason: str
    detail: str


class Cropper:
    """Cuts the face out of a photo, as the service does for a model.

    Args:
        card: of the model.
        largest: take the largest of several faces, as an enrolment does; otherwise a photo with
            several faces is left out.

    Raises:
        Unavailable: the model takes other crops than this version or the detector makes.
    """

    def __init__(self, settings: AppArgs, card: ModelCard, *, largest: bool = True) -> None:
        self._settings, self._largest = settings, largest
        self._alignment = alignment_of(card.preprocessing, settings.detect.model)
        self._detector = detector_of(settings.detect)

    def crop(self, photo: Path) -> NDArray[np.uint8] | LeftOut:
        """The face in a photo, uint8 RGB (3, S, S)."""
        faces = self.look(photo)
        if isinstance(faces, LeftOut):
            return faces
        crop: NDArray[np.uint8] = faces.crops[0]
        return crop

    def look(self, photo: Path) -> Faces | LeftOut:
        """The one face in a photo that counts."""
        try:
            _, faces = self.all(photo.read_bytes())
        except ServingError as error:
            return LeftOut(photo, error.type, str(error))
        except OSError as error:
            return LeftOut(photo, UNREADABLE, f"It cannot be read: {error.strerror or error}.")
        if not len(faces):
            return LeftOut(photo, NO_FACE, "No face was found.")
        if len(faces) > 1 and not self._largest:
            return LeftOut(photo, SEVERAL_FACES, f"It shows {len(faces)} faces.")
        return faces.first(1)

    def all(self, data: bytes) -> tuple[Photo, Faces]:
        """The photo decoded, and all faces in it.

        Raises:
            ServingError: it is no photo that the service reads.
        """
        photo = decode(data, self._settings.decode)
        faces = find_faces(
            photo,
            self._detector,
            turned=self._settings.detect.turned,
            alignment=self._alignment,
        )
        return photo, faces

    def gates(
        self, face: Faces, vectors: NDArray[np.float32], card: ModelCard
    ) -> tuple[str | None, str | None]:
        """The first gate of look-up and of enrolment that one face does not pass, if there is one,
        as the service has them.

        Args:
            vectors: its embedding, float32 (1, D).
        """
        limits = self._settings.enrolment
        poor = lookup_faults(face, vectors, card, self._settings.lookup)[0]
        refused = enrolment_faults(face.quality[0], limits)
        if not refused and uninformative(vectors, card, limits)[0]:
            refused = (UNINFORMATIVE,)
        return (poor[0].gate if poor else None, refused[0].gate if refused else None)


@dataclass(frozen=True)
class PhotoEmbeddings:
    """Embeddings of n photos.

    Attributes:
        vectors: float32 (n, D), unit length; zeros where a photo has none.
        problems: why a photo has no embedding; None: it has one.
        quality: of the face; None: there is none.
        poor: the gate of look-up that the face does not pass; None: it is good enough, or there is
            none.
        refused: the same of enrolment.
    """

    vectors: NDArray[np.float32]
    problems: Sequence[LeftOut | None]
    quality: Sequence[Quality | None]
    poor: Sequence[str | None]
    refused: Sequence[str | None]


def embed_photos(
    photos: Sequence[Path],
    cropper: Cropper,
    model: EmbeddingModel,
    advance: Callable[[int], None] = lambda photos: None,
) -> PhotoEmbeddings:
    """Embed the face of each photo; ``advance`` is called with the number of photos just done.

    Raises:
        ServingError, ModelError: see `embed_crops`.
    """
    vectors = np.zeros((len(photos), model.card.dimension), np.float32)
    problems: list[LeftOut | None] = [None] * len(photos)
    quality: list[Quality | None] = [None] * len(photos)
    poor: list[str | None] = [None] * len(photos)
    refused: list[str | None] = [None] * len(photos)
    for start in range(0, len(photos), _BATCH):
        faces: dict[int, Faces] = {}
        for row in range(start, min(start + _BATCH, len(photos))):
            result = cropper.look(photos[row])
            if isinstance(result, LeftOut):
                problems[row] = result
            else:
                faces[row] = result
                quality[row] = result.quality[0]
            advance(1)
        if faces:
            crops = np.concatenate([face.crops for face in faces.values()])
            vectors[list(faces)] = embed_crops(crops, model)
        for row, face in faces.items():
            own = vectors[row : row + 1]
            poor[row], refused[row] = cropper.gates(face, own, model.card)
    return PhotoEmbeddings(vectors, problems, quality, poor, refused)


def embed_crops(crops: NDArray[np.uint8], model: EmbeddingModel) -> NDArray[np.float32]:
    """Crops, uint8 RGB (N, 3, S, S), to embeddings, float32 (N, D), checked for unit length.

    Raises:
        ServingError: the model is away, or another one is served now.
        ModelError: it does not make vectors of unit length.
    """
    vectors = model.embed(crops)
    if not (np.abs(np.linalg.norm(vectors, axis=1) - 1) < 0.01).all():  # a NaN fails too
        raise ModelError(f"{model.card.id} does not make vectors of unit length.")
    return vectors
