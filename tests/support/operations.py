"""Stand-ins for what an operator's commands reach: a bucket, a Triton and an embedding model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from serving.gallery.observer import NOBODY, Observer
from serving.settings import GallerySettings
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION
from tests.support.service import FakeService, fake_service
from tests.support.stages import CARD

NEW = "facenet-new@aaaaaaaaaaaa"


class OneBucket:
    """Opens the same store each time, as `serving.gallery.s3.connect` opens a bucket.

    ``settings``, ``needs`` and ``credentials`` are those of the last call.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.settings = GallerySettings()
        self.needs = ""
        self.credentials: Mapping[str, str] | None = None

    def __call__(
        self,
        settings: GallerySettings,
        observer: Observer = NOBODY,
        *,
        needs: str = "",
        credentials: Mapping[str, str] | None = None,
    ) -> MemoryStore:
        self.settings, self.needs, self.credentials = settings, needs, credentials
        return self._store


@contextmanager
def fake_triton() -> Iterator[FakeService]:
    """A Triton that answers every request with the configuration of the model of `CARD`."""
    with fake_service() as service:
        service.body = {
            "max_batch_size": 32,
            "input": [{"name": "INPUT__0"}],
            "output": [{"name": "OUTPUT__0"}],
            "parameters": {"card": {"string_value": CARD.to_json()}},
        }
        yield service


class PixelModel:
    """A model of `NEW` whose embeddings depend on the pixels only.

    With ``error`` it raises that from the second call on.
    """

    card = CARD.model_copy(update={"name": "facenet-new", "id": NEW})

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self._calls = 0

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        self._calls += 1
        if self._error is not None and self._calls > 1:
            raise self._error
        rows = crops.reshape(len(crops), -1)[:, :: 76_800 // DIMENSION][:, :DIMENSION] + 1.0
        unit: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("f")
        return unit


class NoUnitModel(PixelModel):
    """Its vectors are no embeddings."""

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full((len(crops), DIMENSION), np.nan, np.float32)
