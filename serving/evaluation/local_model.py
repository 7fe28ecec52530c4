"""Photos of people -> their embeddings, by the service's own steps, in this process.

Decoding, detection and cropping are the functions that the stages call, and ``model.pt`` is the
file that Triton runs, in TorchScript as there. Nothing is kept but in memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from serving.decode import decode
from serving.detect import find_faces
from serving.enrolling import PersonFolder
from serving.errors import ServingError
from serving.evaluation.sample import NotMeasurable, Sample, read_card
from serving.mtcnn import FaceDetector
from serving.settings import AppArgs

_BATCH = 16


class LocalModel:
    """A traced model of the repository.

    Raises:
        NotMeasurable: it is not there, not traced, or has no card.
    """

    def __init__(self, repository: Path, name: str, settings: AppArgs) -> None:
        folder = repository / name
        file = folder / "1" / "model.pt"
        if not file.is_file():
            raise NotMeasurable(
                f"There is no traced model {name!r} in {repository}; "
                "make it with triton/trace_model.py, or give --model and --repository."
            )
        self.card = read_card(folder / "model.json")
        self._settings = settings
        self._detector = FaceDetector(
            min_face_size=settings.detect.min_face_size,
            max_side=settings.detect.max_side,
            min_score=settings.detect.min_score,
            second_look=settings.detect.second_look,
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`torch\.jit", FutureWarning)
            warnings.filterwarnings("ignore", r"`torch\.jit", DeprecationWarning)
            self._network = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]

    def crop(self, photo: Path) -> NDArray[np.uint8]:
        """The largest face, uint8 RGB (3, 160, 160).

        Raises:
            ServingError: no photo, or no face in it.
            OSError: it cannot be read.
        """
        faces = find_faces(decode(photo.read_bytes(), self._settings.decode), self._detector)
        if not len(faces):
            raise ServingError("No face was found.")
        crop: NDArray[np.uint8] = faces.crops[0]
        return crop

    def vectors(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Of crops, uint8 RGB (N, 3, 160, 160), the embeddings: (N, D), unit length."""
        with torch.inference_mode():
            found: NDArray[np.float32] = self._network(torch.from_numpy(crops)).numpy()
        return found

    def embed(
        self, people: Sequence[PersonFolder], advance: Callable[[int], None] = lambda photos: None
    ) -> Sample:
        """The largest face of every photo; ``advance`` is told how many photos are done."""
        of: dict[int, list[Path]] = {}  # folders 7 and 007 are one person
        for folder in sorted(people, key=lambda p: p.id):
            of.setdefault(folder.id, []).extend(folder.photos)
        photos = [photo for own in of.values() for photo in own]
        vectors = np.zeros((len(photos), self.card.dimension), np.float32)
        problems: list[str | None] = [None] * len(photos)
        for start in range(0, len(photos), _BATCH):
            crops, places = [], []
            for place in range(start, min(start + _BATCH, len(photos))):
                try:
                    crops.append(self.crop(photos[place]))
                    places.append(place)
                except ServingError as error:
                    problems[place] = str(error)
                except OSError as error:
                    problems[place] = f"It cannot be read: {error.strerror or error}."
                advance(1)
            if crops:
                vectors[places] = self.vectors(np.stack(crops))
        person = np.arange(len(of)).repeat([len(own) for own in of.values()])
        return Sample(np.array(list(of), np.int64), person, photos, vectors, problems)
