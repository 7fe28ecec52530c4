"""Embedding: face crops -> unit vectors, by the model that Triton serves."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import numpy as np
import tritonclient.http.aio as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from serving import tracing
from serving.errors import Unavailable
from serving.model.card import ModelCard
from serving.settings import TritonSettings

T = TypeVar("T")

# How long the model's card is kept before Triton is asked for it again.
_CARD_SECONDS = 30.0
# The faces of a photo with more are sent in parts of so many, and of all such photos together so
# many parts at once. That keeps Triton busy, no part spends its time limit waiting for others, and
# a photo with few faces waits for two parts at most. Triton's own priorities would do less: its
# batcher fills an urgent request's batch with faces that are not urgent, up to the model's size.
_PART = 8
_PARTS_AT_ONCE = 2
# Seconds until a request whose connection was lost is sent again.
_AGAIN = (0.0, 0.3)
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
        observe: is told of every request: ready, config or infer; what came of it: ok, timeout,
            unreachable, refused (Triton says no) or invalid (what answers is no Triton); the
            seconds that it took; and the faces in it.
        card_seconds: how long the model's card is kept before Triton is asked for it again.
    """

    def __init__(
        self,
        settings: TritonSettings,
        client: Any = None,
        observe: Callable[[str, str, float, int], None] = lambda call, outcome, seconds, batch: (
            None
        ),
        *,
        card_seconds: float = _CARD_SECONDS,
    ) -> None:
        self._settings = settings
        self._client = client
        self._observe = observe
        self._card_seconds = card_seconds
        self._served: ServedModel | None = None
        self._parts = asyncio.Semaphore(_PARTS_AT_ONCE)

    async def ready(self) -> bool:
        """Whether Triton serves the model now."""
        try:
            return bool(
                await self._ask(
                    "ready", lambda: self._triton().is_model_ready(self._settings.model)
                )
            )
        except Unavailable:
            return False

    async def served(self) -> ServedModel:
        """The served model, from Triton's model configuration."""
        known = self._served
        if known is not None and time.monotonic() - known.asked_at < self._card_seconds:
            return known
        config = await self._ask(
            "config", lambda: self._triton().get_model_config(self._settings.model)
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
                f"Triton serves the model {self._settings.model!r} without a usable card; "
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
            result = await self._ask(
                "infer",
                lambda: self._triton().infer(self._settings.model, [tensor], outputs=[wanted]),
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

    def _triton(self) -> Any:
        if self._client is None:
            url = urlsplit(self._settings.url)
            by_socket = url.scheme == "unix"
            timeout = self._settings.timeout_s + 1  # `_ask` has the shorter limit
            self._client = triton.InferenceServerClient(
                "triton" if by_socket else url.netloc + url.path.rstrip("/"),
                ssl=url.scheme == "https",
                ssl_context=ssl.create_default_context(cafile=self._settings.ca_file)
                if url.scheme == "https"
                else None,
                conn_limit=self._settings.connections,
                conn_timeout=timeout,
            )
            if by_socket:
                _connect_by_socket(self._client, url.path, self._settings.connections, timeout)
        return self._client

    async def _ask(self, what: str, call: Callable[[], Awaitable[T]], batch: int = 0) -> T:
        """The answer to ``call``, which is sent again when the connection was lost.

        A kept connection breaks whenever a replica of Triton is replaced, and a new one may lead to
        the same replica until every node knows of it. Every request here may be sent again.
        """
        try:
            for pause in _AGAIN:
                with suppress(aiohttp.ClientConnectionError):
                    return await self._once(what, call, batch)
                await asyncio.sleep(pause)
            return await self._once(what, call, batch)
        except asyncio.TimeoutError:
            raise Unavailable(
                f"Triton did not answer within {self._settings.timeout_s:g} s."
            ) from None
        except aiohttp.ClientError as error:
            raise Unavailable("Triton cannot be reached.") from error
        except InferenceServerException as error:
            # The first line only: a traceback of the server may follow.
            reason = (error.message() or "no reason given").splitlines()[0][:200]
            raise Unavailable(
                f"Triton refuses the model {self._settings.model!r}: {reason}"
            ) from error
        except ValueError as error:  # no JSON: a proxy's page, for example
            raise Unavailable("What answers at Triton's address is no Triton.") from error

    async def _once(self, what: str, call: Callable[[], Awaitable[T]], batch: int) -> T:
        start, outcome = time.perf_counter(), "given-up"
        try:
            with tracing.span(f"triton {what}", **({"faces": batch} if batch else {})):
                answer = await asyncio.wait_for(call(), self._settings.timeout_s)
            outcome = "ok"
            return answer
        except asyncio.TimeoutError:
            outcome = "timeout"
            raise
        except aiohttp.ClientError:
            outcome = "unreachable"
            raise
        except InferenceServerException:
            outcome = "refused"
            raise
        except ValueError:
            outcome = "invalid"
            raise
        finally:
            self._observe(what, outcome, time.perf_counter() - start, batch)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


def _connect_by_socket(client: Any, path: str, connections: int, timeout: float) -> None:
    """Replace the connector of NVIDIA's client, which has no argument for a Unix socket."""
    client._stub.detach()  # drops the session without a warning; it has no connection yet
    client._conn = aiohttp.UnixConnector(path, limit=connections)
    client._stub = aiohttp.ClientSession(
        connector=client._conn,
        timeout=aiohttp.ClientTimeout(total=timeout),
        auto_decompress=False,
    )
