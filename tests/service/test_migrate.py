"""Another model on the real stack: everybody is moved while the old one serves, then the switch,
and back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import save_file

from serving.model.repository import REPOSITORY
from serving.stack import triton
from serving.stack.config import StackSettings
from serving.stack.run import running

PORT = 15200
TRITON_PORT = PORT + 60
OLD, NEW = "facenet-casia-webface", "facenet-permuted"
ROOT = REPOSITORY.parents[1]

sys.path.insert(0, str(ROOT / "triton"))

import trace_model  # noqa: E402


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The default model, and one whose embeddings have the same numbers in another order: as good,
    and with nothing in common."""
    folder = tmp_path_factory.mktemp("triton")
    repository = folder / "models"
    shutil.copytree(REPOSITORY / OLD, repository / OLD)
    shutil.copytree(REPOSITORY.parent / "backends", folder / "backends")
    cache = ROOT / ".cache" / "weights"
    state = trace_model.load_network("casia-webface", cache).state_dict()
    order = torch.randperm(512, generator=torch.Generator().manual_seed(1))
    last = [k for k in state if k.startswith(("last_linear.", "last_bn.")) and state[k].ndim]
    state = {k: v[order] if k in last else v for k, v in state.items() if "logits" not in k}
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "permuted.safetensors")
    command = [sys.executable, str(ROOT / "triton" / "trace_model.py"), "--name", NEW]
    command += ["--weights", str(folder / "permuted.safetensors")]
    subprocess.run([*command, "--repository", str(repository)], check=True, capture_output=True)
    yield repository
    shutil.rmtree(folder)  # pytest would keep hundreds of megabytes


@pytest.fixture
def photos(tmp_path: Path, data: Path) -> Path:
    folder = tmp_path / "photos"
    shutil.copytree(data / "people", folder)
    shutil.copytree(data / "2576", folder / "2576")
    return folder


class Site:
    """One folder of the one-machine stack, with two models to choose from."""

    def __init__(self, folder: Path, repository: Path, photos: Path) -> None:
        self.folder, self.repository, self.photos = folder, repository, photos

    @contextmanager
    def serving(self, model: str) -> Iterator[httpx.Client]:
        """The stack with this model: the one setting that is changed."""
        settings = StackSettings(self.folder, PORT, model, self.repository)
        with running(settings), httpx.Client(base_url=settings.url, timeout=60) as api:
            yield api

    def migrate(self, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "serving", "gallery", "migrate", str(self.photos)]
        command += ["--to", NEW, "--repository", str(self.repository), "--json"]
        return subprocess.Popen(
            [*command, "--config", str(self.folder / "serve.yaml"), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def migrated(self, *options: str, code: int = 0) -> dict[str, Any]:
        process = self.migrate(*options)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, err
        told: dict[str, Any] = json.loads(out)
        return told


def enrol(api: httpx.Client, folder: Path, name: str | None = None) -> None:
    files = [("images", photo.read_bytes()) for photo in sorted(folder.iterdir())[:3]]
    fields = {"id": folder.name, **({"name": name} if name else {})}
    api.post("/generate", data=fields, files=files).raise_for_status()


def people(api: httpx.Client) -> dict[int, tuple[str | None, dict[str, Any], float, float]]:
    listed = api.get("/identities").raise_for_status().json()["identities"]
    return {p["id"]: (p["name"], p["metadata"], p["created"], p["updated"]) for p in listed}


def who(api: httpx.Client, photo: Path) -> tuple[int | None, str]:
    answer = api.post("/infer", files={"image": photo.read_bytes()}).raise_for_status().json()
    return answer["faces"][0]["id"], answer["model"].partition("@")[0]


def test_a_new_model_there_and_back(
    tmp_path: Path, repository: Path, photos: Path, data: Path
) -> None:
    site, probe = Site(tmp_path / "run", repository, photos), data / "id_is_2576.jpg"
    obama = data / "people/102/obama.jpg"
    with site.serving(OLD) as api:
        for person, name in (("101", "Macron"), ("102", None), ("104", "Collins"), ("2576", "A")):
            enrol(api, photos / person, name)
        api.patch("/identities/2576", json={"metadata": {"desk": "4b"}}).raise_for_status()

        asked = site.migrated("--dry-run")
        assert (asked["moved"], asked["not_enrolled"]) == ([101, 102, 104, 2576], [103])

        # Broken off, by way of a Triton that serves the new model beside the old one.
        second = tmp_path / "new"
        server = triton.start(second, second, TRITON_PORT, repository, NEW, threads=1)
        try:
            server.wait_until(lambda: triton.is_ready(second, NEW), 120)
            url = triton.url_of(second)
            process = site.migrate("--triton", url)
            assert process.stderr is not None
            assert process.stderr.readline() == "29 photos have to be looked at.\n"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
            assert process.returncode == 1, err
            first = json.loads(out)
            assert first["broken_off"] == "It was stopped."
            told = site.migrated("--triton", url)
            assert sorted(first["moved"] + told["moved"]) == [101, 102, 104, 2576]
            assert told["done_before"] == len(first["moved"])
        finally:
            server.stop(10)
        away = site.migrate("--triton", url)
        assert "Triton cannot be reached" in away.communicate(timeout=60)[1]

        assert who(api, probe) == (2576, OLD)  # the old one went on serving
        # Until the switch the old gallery is the one that is written to.
        api.patch("/identities/102", json={"name": "Obama"}).raise_for_status()
        api.delete("/identities/104").raise_for_status()
        enrol(api, photos / "103", "Sunak")
        told = site.migrated()
        assert (told["moved"], told["renamed"], told["removed"]) == ([103], [102], [104])
        assert site.migrated()["done_before"] == 4
        before = people(api)

    with site.serving(NEW) as api:
        assert people(api) == before
        assert before[2576][:2] == ("A", {"desk": "4b"})
        assert who(api, probe) == (2576, NEW)
        assert who(api, data / "people/104/collins.jpg") == (None, NEW)
        assert who(api, obama) == (102, NEW)
        assert api.get("/collections").json()["collections"][0]["models"][0].startswith(OLD)

    with site.serving(OLD) as api:
        assert people(api) == before
        assert who(api, probe) == (2576, OLD)
        assert who(api, obama) == (102, OLD)
