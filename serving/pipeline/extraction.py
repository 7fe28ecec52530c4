"""Embeddings of faces, and whether they are live: both are asked for at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.errors import Unavailable
from serving.model.embedder import Embedder
from serving.model.liveness import Liveness, LivenessModel
from serving.pipeline.gather import all_of
from serving.pipeline.timings import Timings
from serving.settings import LivenessSettings
from serving.vision.records import Faces
from serving.vision.surroundings import Surroundings, surroundings_of


@dataclass(frozen=True)
class Extracted:
    """Of F faces.

    Attributes:
        vectors: embeddings, float32 (F, D), unit length.
        liveness: of each face; None: it was not checked.
    """

    vectors: NDArray[np.float32]
    liveness: tuple[Liveness | None, ...]


class Extractor:
    """Asks the embedding model and, where there is one, the liveness model.

    Args:
        liveness: None: the settings want no checks.
    """

    def __init__(
        self,
        embedder: Embedder,
        liveness: LivenessModel | None = None,
        settings: LivenessSettings | None = None,
    ) -> None:
        self._embedder = embedder
        self._liveness = liveness
        self._settings = settings or LivenessSettings()

    async def surroundings(self) -> Surroundings | None:
        """The second crop that `extract` needs of each face; None: it needs none.

        Raises:
            Unavailable: the model for it is away.
        """
        if self._liveness is None:
            return None
        return surroundings_of(*await self._liveness.size(), self._settings)

    async def extract(
        self, faces: Sequence[Faces], timings: Timings, *, checked: bool = True
    ) -> Extracted:
        """Those of the faces of some photos, all in one row.

        Args:
            checked: also ask whether they are live, if the settings want it.

        Raises:
            Unavailable: a model is away, or answers what it should not: no face is then taken for a
                live one.
        """
        crops = np.concatenate([of_photo.crops for of_photo in faces])
        embed = timings.of("embed", self._embedder.embed(crops))
        if self._liveness is None or not checked or not len(crops):
            return Extracted(await embed, (None,) * len(crops))
        judge = timings.of("liveness", self._judged(self._liveness, faces))
        # Where one fails the other one is given up.
        embedding, judging = asyncio.ensure_future(embed), asyncio.ensure_future(judge)
        await all_of([embedding, judging])
        return Extracted(embedding.result(), judging.result())

    async def problem(self) -> str | None:
        """Why faces cannot be checked now; None: they can, or need not be."""
        try:
            await self.surroundings()
        except Unavailable as error:
            return str(error)
        return None

    async def _judged(self, model: LivenessModel, faces: Sequence[Faces]) -> tuple[Liveness, ...]:
        around = [of_photo.surroundings for of_photo in faces if len(of_photo)]
        crops = [crop for crop in around if crop is not None]
        if len(crops) < len(around) or len({crop.shape[1:] for crop in crops}) > 1:
            # A stage of another version, or a model that was replaced meanwhile.
            raise Unavailable("The faces were cut for another liveness model; send it again.")
        return await model.judge(np.concatenate(crops))
