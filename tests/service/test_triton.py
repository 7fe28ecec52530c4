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
from serving.model.card import ModelCard
from serving.model.embedder import Embedder
from serving.model.repository import REPOSITORY
from serving.settings import TritonSettings
from serving.stack import triton
from serving.stack.config import StackSettings
from serving.stack.process import LOOPBACK, Process
from tests.support.stacks import OPEN_PORT

# The folder is no package, and must not be: torch imports a compiler package named triton.
sys.path.insert(0, str(REPOSITORY.parent))

import trace_model

PORT = OPEN_PORT + 90


@pytest.fixture
def settings(stack: StackSettings) -> TritonSettings:
    return TritonSettings(url=triton.url_of(stack.folder), model=stack.model)


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


def test_openvino_serves_the_same_model(tmp_path: Path) -> None:
    """Converted, written and served by a tritonserver of its own, under the id of the original."""
    original = REPOSITORY / "facenet-casia-webface"
    card = ModelCard.from_json((original / "model.json").read_text())
    card = card.model_copy(update={"name": f"{card.name}-openvino"})
    module = torch.jit.load(str(original / "1" / "model.pt"))  # type: ignore[no-untyped-call]
    trace_model.write_model(tmp_path / "models", card, trace_model.convert(module, 160))
    (tmp_path / "backends").symlink_to(REPOSITORY.parent / "backends")
    run = tmp_path / "run"
    process = triton.start(run, tmp_path / "logs", PORT, tmp_path / "models", card.name, threads=1)

    async def embed() -> tuple[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        embedder = Embedder(TritonSettings(url=triton.url_of(run), model=card.name))
        try:
            served = (await embedder.served()).card.id
            # As the requests of several photos, which Triton joins.
            parts = await asyncio.gather(*(embedder.embed(crops(n)) for n in (1, 2, 33)))
            return served, np.concatenate(parts)
        finally:
            await embedder.close()

    try:
        process.wait_until(lambda: triton.is_ready(run, card.name), 120)
        served, vectors = asyncio.run(embed())
    finally:
        process.stop(10)
    assert served == card.id
    with torch.inference_mode():
        expected = module(torch.from_numpy(np.concatenate([crops(n) for n in (1, 2, 33)]))).numpy()
    # bfloat16, where the processor has it.
    assert (vectors * expected).sum(axis=1).min() > 0.9995
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
