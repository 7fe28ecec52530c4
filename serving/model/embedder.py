"""Embedding: face crops -> unit vectors, by the model that Triton serves."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import Unavailable
from serving.model.card import ModelCard
from serving.model.server import InferenceServer, Observe
from serving.settings import TritonSettings

# How long the model's card is kept before Triton is asked for it again.
_CARD_SECONDS = 30.0
# Faces in one inference, at most; see `InferenceServer.in_parts`.
_PART = 8
_NO_EMBEDDING = "Triton answered with something that is no embedding."


@dataclass(frozen=True)
class ServedModel:
    """Triton's configuration of the model: its card, batch size and the names of its tensors."""

    card: ModelCard
    max_batch: int
    input: str
    output: str
    asked_at: float  # time.monotonic()


class Embedder:
    """A client of one model on one Triton (or KServe) address.

    Belongs to the event loop that first uses it. All methods raise `Unavailable` when Triton is
    away, late, or does not serve the model.

    Args:
        client: what speaks to Triton; by default a client of ``settings.url``.
        observe: see `serving.model.server.Observe`.
        card_seconds: how long the model's card is kept before Triton is asked for it again.
    """

    def __init__(
        self,
        settings: TritonSettings,
        client: Any = None,
        observe: Observe = lambda call, outcome, seconds, batch: None,
        *,
        card_seconds: float = _CARD_SECONDS,
    ) -> None:
        self._model = settings.model
        self._server = InferenceServer(settings, client, observe)
        self._card_seconds = card_seconds
        self._served: ServedModel | None = None

    async def ready(self) -> bool:
        """Whether Triton serves the model now."""
        try:
            return bool(
                await self._server.ask(
                    "ready", self._model, lambda: self._server.client.is_model_ready(self._model)
                )
            )
        except Unavailable:
            return False

    async def served(self) -> ServedModel:
        """The served model, from Triton's model configuration."""
        known = self._served
        if known is not None and time.monotonic() - known.asked_at < self._card_seconds:
            return known
        config = await self._server.ask(
            "config", self._model, lambda: self._server.client.get_model_config(self._model)
        )
        try:
            card = ModelCard.from_json(config["parameters"]["card"]["string_value"])
            self._served = ServedModel(
                card=card,
                max_batch=max(1, int(config["max_batch_size"])),
                input=config["input"][0]["name"],
                output=config["output"][0]["name"],
                asked_at=time.monotonic(),
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise Unavailable(
                f"Triton serves the model {self._model!r} without a usable card; "
                "trace it anew with triton/trace_model.py."
            ) from error
        return self._served

    async def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed face crops.

        Args:
            crops: uint8 RGB (N, 3, S, S), as the card's preprocessing has them; any N, more than
                Triton's batch size too.

        Returns:
            float32 (N, D), unit length.
        """
        model = await self.served()
        if not len(crops):
            return np.empty((0, model.card.dimension), np.float32)
        vectors = await self._server.in_parts(
            partial(self._infer, model), crops, min(model.max_batch, _PART)
        )
        if vectors.shape != (len(crops), model.card.dimension) or not np.isfinite(vectors).all():
            raise Unavailable(_NO_EMBEDDING)
        return vectors

    async def _infer(self, model: ServedModel, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        inputs = (model.input, "UINT8", crops)
        try:
            vectors = await self._server.infer(self._model, inputs, model.output)
        except Unavailable:
            # A Triton that comes back may come back with another model.
            self._served = None
            raise
        if vectors is None or vectors.ndim != 2:
            raise Unavailable(_NO_EMBEDDING)
        return vectors

    async def close(self) -> None:
        await self._server.close()
