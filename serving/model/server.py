"""A client of the inference server, one Triton or KServe address: the Open Inference Protocol."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import numpy as np
import tritonclient.http.aio as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from serving import tracing
from serving.errors import Unavailable
from serving.settings import TritonSettings

T = TypeVar("T")
F = TypeVar("F", bound=np.generic)

# The faces of a photo with more than an inference takes are sent in parts, and of all such photos
# together so many parts at once. That keeps Triton busy, no part spends its time limit waiting for
# others, and a photo with few faces waits for two parts at most. Triton's own priorities would do
# less: its batcher fills an urgent request's batch with faces that are not urgent, up to the size
# of the model.
_PARTS_AT_ONCE = 2
# Seconds until a request whose connection was lost is sent again.
_AGAIN = (0.0, 0.3)
# Told of every request: ready, config, metadata or infer; what came of it: ok, timeout,
# unreachable, refused (the server says no) or invalid (what answers is no Triton); the seconds that
# it took; and the faces in it.
Observe = Callable[[str, str, float, int], None]


class InferenceServer:
    """Belongs to the event loop that first uses it.

    Args:
        client: what speaks to Triton; by default a client of ``settings.url``.
    """

    def __init__(self, settings: TritonSettings, client: Any, observe: Observe) -> None:
        self._settings = settings
        self._client = client
        self._observe = observe
        self._parts = asyncio.Semaphore(_PARTS_AT_ONCE)

    @property
    def client(self) -> Any:
        """NVIDIA's client."""
        if self._client is None:
            url = urlsplit(self._settings.url)
            by_socket = url.scheme == "unix"
            timeout = self._settings.timeout_s + 1  # `ask` has the shorter limit
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
                # Not the parts of a URL: a path may have any characters.
                path = self._settings.url.removeprefix("unix:")
                _connect_by_socket(self._client, path, self._settings.connections, timeout)
        return self._client

    async def ask(
        self, what: str, model: str, call: Callable[[], Awaitable[T]], batch: int = 0
    ) -> T:
        """The answer to ``call``, which is sent again when the connection was lost.

        A kept connection breaks whenever a replica of Triton is replaced, and a new one may lead to
        the same replica until every node knows of it. Every request here may be sent again.

        Args:
            what: ready, config, metadata or infer.
            model: whom it is about.
            batch: the number of faces in it.

        Raises:
            Unavailable: Triton is away, late, or does not serve the model.
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
            raise Unavailable(f"Triton refuses the model {model!r}: {reason}") from error
        except ValueError as error:  # no JSON: a proxy's page, for example
            raise Unavailable("What answers at Triton's address is no Triton.") from error

    async def infer(
        self, model: str, inputs: tuple[str, str, NDArray[Any]], output: str
    ) -> NDArray[Any] | None:
        """What the model makes of a batch of faces; None: Triton answered without the output.

        Args:
            inputs: the name of the only one, its datatype, and the faces, (N, ...).
            output: the name of the one that is wanted.

        Raises:
            Unavailable: see `ask`.
        """
        name, datatype, faces = inputs
        tensor = triton.InferInput(name, list(faces.shape), datatype)
        tensor.set_data_from_numpy(np.ascontiguousarray(faces))
        wanted = triton.InferRequestedOutput(output)
        result = await self.ask(
            "infer",
            model,
            lambda: self.client.infer(model, [tensor], outputs=[wanted]),
            batch=len(faces),
        )
        made: NDArray[Any] | None = result.as_numpy(output)
        return made

    async def in_parts(
        self,
        infer: Callable[[NDArray[np.uint8]], Awaitable[NDArray[F]]],
        crops: NDArray[np.uint8],
        size: int,
    ) -> NDArray[F]:
        """``infer`` for at least one crop, (N, ...), with at most ``size`` of them at a time."""
        if len(crops) <= size:
            return await infer(crops)

        async def one(part: NDArray[np.uint8]) -> NDArray[F]:
            async with self._parts:
                return await infer(part)

        parts = [crops[i : i + size] for i in range(0, len(crops), size)]
        return np.concatenate(await asyncio.gather(*map(one, parts)))

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
