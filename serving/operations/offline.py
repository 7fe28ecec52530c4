"""Photos of people -> their embeddings, by the service's own steps, in this process.

Decoding, detection and cropping are the functions that the stages call, and the model is the file
that Triton runs, by TorchScript or OpenVINO as there. Nothing is kept but in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.errors import ServingError
from serving.evaluation.sample import NotMeasurable, Sample, read_card
from serving.model import runtime
from serving.model.repository import weights_in
from serving.operations.folders import PersonFolder, photos_by_id
from serving.settings import AppArgs
from serving.vision.decode import decode
from serving.vision.faces import detector_of, find_faces

_BATCH = 16


class LocalModel:
    """A traced model of the repository; ``vectors`` embeds crops, uint8 RGB (N, 3, 160, 160).

    Raises:
        NotMeasurable: it is not there, not traced, or has no card.
    """

    def __init__(self, repository: Path, name: str, settings: AppArgs) -> None:
        folder = repository / name
        if weights_in(folder) is None:
            raise NotMeasurable(
                f"There is no traced model {name!r} in {repository}; "
                "make it with triton/trace_model.py, or give --model and --repository."
            )
        self.card = read_card(folder / "model.json")
        self._settings = settings
        self._detector = detector_of(settings.detect)
        self.vectors = runtime.load(folder)

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

    def embed(
        self, people: Sequence[PersonFolder], advance: Callable[[int], None] = lambda photos: None
    ) -> Sample:
        """The largest face of every photo; ``advance`` is told how many photos are done."""
        of = photos_by_id(people)
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
