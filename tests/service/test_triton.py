"""The real tritonserver, and the client of it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import torch

from serving.embed import Embedder
from serving.errors import Unavailable
from serving.settings import TritonSettings
from serving.stack import REPOSITORY, StackSettings


@pytest.fixture
def settings(stack: StackSettings) -> TritonSettings:
    return TritonSettings(url=f"http://127.0.0.1:{stack.triton_port}", model=stack.model)


def crops(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(count).integers(0, 256, (count, 3, 160, 160), np.uint8)


@pytest.mark.parametrize("count", [0, 1, 32, 33, 70])
def test_any_number_of_faces_is_embedded(settings: TritonSettings, count: int) -> None:
    async def embed() -> tuple[int, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        embedder = Embedder(settings)
        try:
            return (await embedder.served()).max_batch, await embedder.embed(crops(count))
        finally:
            await embedder.close()

    max_batch, vectors = asyncio.run(embed())
    assert max_batch == 32
    assert vectors.shape == (count, 512)
    assert vectors.dtype == np.float32
    module = torch.jit.load(str(REPOSITORY / settings.model / "1" / "model.pt"))  # type: ignore[no-untyped-call]
    if count:
        with torch.inference_mode():
            expected = module(torch.from_numpy(crops(count))).numpy()
        np.testing.assert_allclose(vectors, expected, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_model_that_is_not_served_is_named(settings: TritonSettings) -> None:
    async def ask() -> None:
        embedder = Embedder(settings.model_copy(update={"model": "facenet-nobody"}))
        try:
            assert not await embedder.ready()
            await embedder.embed(crops(1))
        finally:
            await embedder.close()

    with pytest.raises(Unavailable, match="facenet-nobody"):
        asyncio.run(ask())


def test_a_triton_that_is_away_is_told_promptly() -> None:
    async def ask() -> None:
        embedder = Embedder(TritonSettings(url="http://127.0.0.1:1"))
        try:
            await embedder.embed(crops(1))
        finally:
            await embedder.close()

    with pytest.raises(Unavailable, match="cannot be reached"):
        asyncio.run(ask())
