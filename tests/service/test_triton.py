"""The real tritonserver, and the client of it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from serving.errors import Unavailable
from serving.model.embedder import Embedder
from serving.model.repository import REPOSITORY
from serving.settings import TritonSettings
from serving.stack import triton
from serving.stack.config import StackSettings
from serving.stack.process import LOOPBACK, Process
from tests.support.stacks import OPEN_PORT

# The folder is no package, and must not be: torch imports a compiler package named triton.
sys.path.insert(0, str(REPOSITORY.parent))


PORT = OPEN_PORT + 90
TORCH_SCRIPT = "facenet-casia-webface"


@pytest.fixture
def settings(stack: StackSettings) -> TritonSettings:
    return TritonSettings(url=triton.url_of(stack.folder), model=stack.model)


def crops(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(count).integers(0, 256, (count, 3, 160, 160), np.uint8)


def torch_script(
    crops: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The embeddings that the model as TorchScript computes in this process."""
    module = torch.jit.load(str(REPOSITORY / TORCH_SCRIPT / "1" / "model.pt"))  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        embeddings: torch.Tensor = module(torch.from_numpy(crops))
    return embeddings.numpy()


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
    if count:
        # bfloat16, where the processor has it.
        assert (vectors * torch_script(crops(count))).sum(axis=1).min() > 0.9995
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_torchscript_serves_the_same_model(settings: TritonSettings, tmp_path: Path) -> None:
    """By a tritonserver of its own, under the same id."""
    run = tmp_path / "run"
    process = triton.start(run, tmp_path / "logs", PORT, REPOSITORY, TORCH_SCRIPT, threads=1)

    async def served(settings: TritonSettings) -> str:
        embedder = Embedder(settings)
        try:
            return (await embedder.served()).card.id
        finally:
            await embedder.close()

    async def embed(settings: TritonSettings) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        embedder = Embedder(settings)
        try:
            # As the requests of several photos, which Triton joins.
            parts = await asyncio.gather(*(embedder.embed(crops(n)) for n in (1, 2, 33)))
            return np.concatenate(parts)
        finally:
            await embedder.close()

    here = TritonSettings(url=triton.url_of(run), model=TORCH_SCRIPT)
    try:
        process.wait_until(lambda: triton.is_ready(run, TORCH_SCRIPT), 120)
        assert asyncio.run(served(here)) == asyncio.run(served(settings))
        vectors = asyncio.run(embed(here))
    finally:
        process.stop(10)
    expected = torch_script(np.concatenate([crops(n) for n in (1, 2, 33)]))
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


def by_grpc(address: str) -> object:
    """In a process of its own: kserve registers the same protocol in this one, in its own words."""
    command = [sys.executable, "-m", "tests.service.triton_grpc", address]
    done = subprocess.run(
        command, cwd=REPOSITORY.parents[1], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_image_closes_what_the_service_never_calls(tmp_path: Path) -> None:
    """Its command line, on the real tritonserver without a model."""
    (tmp_path / "models").mkdir()
    dockerfile = (REPOSITORY.parent / "Dockerfile").read_text()
    command: list[str] = json.loads(dockerfile.rpartition("CMD ")[2].replace("\\\n", ""))
    own = [
        f"--model-repository={tmp_path / 'models'}",
        f"--http-address={triton.url_of(tmp_path)}",
        f"--grpc-address={LOOPBACK}",
        f"--grpc-port={PORT + 92}",
        "--allow-metrics=false",
    ]
    server = triton._server()
    process = Process(
        "Triton",
        [server / "bin" / command[0], *(a for a in command[1:] if "repository=" not in a), *own],
        log=tmp_path / "triton.log",
        env={"LD_LIBRARY_PATH": os.pathsep.join(triton._library_path(server))},
    )

    def up() -> bool:
        path = Path(triton.url_of(tmp_path).removeprefix("unix:"))
        return path.exists() and "Started HTTPService" in process.log.read_text()

    try:
        process.wait_until(up, 60)
        with triton.client(tmp_path) as client:
            assert client.get("/v2/health/ready").status_code == 200
            for path in (
                "repository/index",
                "repository/models/any/load",
                "repository/models/any/unload",
                "systemsharedmemory/region/x/register",
                "cudasharedmemory/region/x/register",
                "logging",
                "trace/setting",
            ):
                for value in ("", "\\n", "closed"):
                    answer = client.post(f"/v2/{path}", content="{}", headers={"closed": value})
                    assert answer.status_code == 403, path
            assert client.get("/v2/models/stats").status_code == 403
        assert by_grpc(f"{LOOPBACK}:{PORT + 92}") == {"ready": True, "answered": []}
    finally:
        process.stop(10)
