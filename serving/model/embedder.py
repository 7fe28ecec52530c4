"""Embedding: face crops -> unit vectors, by the model that Triton serves."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.http.aio as triton
from numpy.typing import NDArray

from serving.errors import Unavailable
from serving.model.card import ModelCard
from serving.model.server import InferenceServer, Observe
from serving.settings import TritonSettings

# How long the model's card is kept before Triton is asked for it again.
_CARD_SECONDS = 30.0
# The faces of a photo with more are sent in parts of so many, and of all such photos together so
# many parts at once. That keeps Triton busy, no part spends its time limit waiting for others, and
# a photo with few faces waits for two parts at most. Triton's own priorities would do less: its
# batcher fills an urgent request's batch with faces that are not urgent, up to the model's size.
_PART = 8
_PARTS_AT_ONCE = 2
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
        self._parts = asyncio.Semaphore(_PARTS_AT_ONCE)

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
        size = min(model.max_batch, _PART)

        async def infer(part: NDArray[np.uint8]) -> NDArray[np.float32]:
            async with self._parts:
                return await self._infer(model, part)

        if len(crops) <= size:
            vectors = await self._infer(model, crops)
        else:
            parts = [crops[i : i + size] for i in range(0, len(crops), size)]
            vectors = np.concatenate(await asyncio.gather(*map(infer, parts)))
        if vectors.shape != (len(crops), model.card.dimension) or not np.isfinite(vectors).all():
            raise Unavailable(_NO_EMBEDDING)
        return vectors

    async def _infer(self, model: ServedModel, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        tensor = triton.InferInput(model.input, list(crops.shape), "UINT8")
        tensor.set_data_from_numpy(np.ascontiguousarray(crops))
        wanted = triton.InferRequestedOutput(model.output)
        try:
            result = await self._server.ask(
                "infer",
                self._model,
                lambda: self._server.client.infer(self._model, [tensor], outputs=[wanted]),
                batch=len(crops),
            )
        except Unavailable:
            # A Triton that comes back may come back with another model.
            self._served = None
            raise
        vectors: NDArray[np.float32] | None = result.as_numpy(model.output)
        if vectors is None or vectors.ndim != 2:
            raise Unavailable(_NO_EMBEDDING)
        return vectors

    async def close(self) -> None:
        await self._server.close()
