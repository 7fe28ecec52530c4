"""SFace beside the default model, and `faces gallery migrate` from one to the other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from serving.model.repository import REPOSITORY
from serving.settings import DEFAULT_MODEL
from serving.stack import triton
from tests.support.images import DATA

# As their ids begin; OpenVINO runs the old one.
OLD, NEW = "facenet-casia-webface", "sface"
COLLECTION = "team"
ROOT = REPOSITORY.parents[1]
PROBE, OBAMA = DATA / "id_is_2576.jpg", DATA / "people/102/obama.jpg"
People = dict[int, tuple[str | None, dict[str, Any], float, float]]


@contextmanager
def repository(folder: Path) -> Iterator[Path]:
    """Both models, and what runs them."""
    made = folder / "models"
    for name in (DEFAULT_MODEL, NEW):
        shutil.copytree(REPOSITORY / name, made / name)
    shutil.copytree(REPOSITORY.parent / "backends", folder / "backends")
    yield made
    shutil.rmtree(folder)  # pytest would keep hundreds of megabytes


@contextmanager
def triton_of(repository: Path, folder: Path, port: int) -> Iterator[str]:
    """The URL of a Triton that serves the new model."""
    server = triton.start(folder, folder, port, repository, NEW, threads=1)
    try:
        server.wait_until(lambda: triton.is_ready(folder, NEW), 120)
        yield triton.url_of(folder)
    finally:
        server.stop(10)


@dataclass(frozen=True)
class Migration:
    """From the old model to the new one, in a collection of the stack in ``folder``.

    Attributes:
        photos: a folder of photos for each person.
    """

    folder: Path
    repository: Path
    photos: Path

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "serving", "gallery", "migrate", str(self.photos)]
        command += ["--to", NEW, "--repository", str(self.repository), "--json"]
        command += ["--config", str(self.folder / "serve.yaml"), "--collection", COLLECTION]
        return subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def run(self, *options: str) -> dict[str, Any]:
        process = self.start(*options)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        told: dict[str, Any] = json.loads(out)
        return told


def client(url: str) -> httpx.Client:
    """Of the collection alone."""
    return httpx.Client(base_url=f"{url}/collections/{COLLECTION}", timeout=60)


def migrate_while_the_old_one_serves(url: str, migration: Migration, second: Path) -> People:
    """Enrol people and move them to the new model, broken off in between; the service's clients
    notice nothing.

    Args:
        second: a folder for a Triton of the new model.

    Returns:
        Whom the service lists at the end, under the old model.
    """
    with client(url) as api:
        for person, name in (("101", "Macron"), ("102", None), ("104", "Collins"), ("2576", "A")):
            enrol(api, migration.photos / person, name)
        api.patch("/identities/2576", json={"metadata": {"desk": "4b"}}).raise_for_status()
        everybody = [101, 102, 104, 2576]

        with triton_of(migration.repository, second, 15260) as new:
            asked = migration.run("--dry-run", "--triton", new)
            assert (asked["moved"], asked["not_enrolled"]) == (everybody, [103])
            process = migration.start("--triton", new)
            assert process.stderr is not None
            assert process.stderr.readline() == "29 photos have to be looked at.\n"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
            assert process.returncode == 1, err
            first = json.loads(out)
            assert first["broken_off"] == "It was stopped."
            told = migration.run("--triton", new)
            assert sorted(first["moved"] + told["moved"]) == everybody
            assert told["done_before"] == len(first["moved"])
        away = migration.start("--triton", new)
        assert "Triton cannot be reached" in away.communicate(timeout=60)[1]

        assert who(api, PROBE) == (2576, OLD)
        # Until the switch the old gallery is the one that is written to.
        api.patch("/identities/102", json={"name": "Obama"}).raise_for_status()
        api.delete("/identities/104").raise_for_status()
        enrol(api, migration.photos / "103", "Sunak")
        told = migration.run()  # with a Triton of its own
        assert (told["moved"], told["renamed"], told["removed"]) == ([103], [102], [104])
        return people(api)


def everybody_is_known_under(model: str, url: str, before: People) -> None:
    with client(url) as api:
        assert people(api) == before
        assert before[2576][:2] == ("A", {"desk": "4b"})
        assert who(api, PROBE) == (2576, model)
        assert who(api, OBAMA) == (102, model)
        assert who(api, DATA / "people/104/collins.jpg") == (None, model)
        listed = httpx.get(f"{url}/collections").raise_for_status().json()["collections"]
        (ours,) = [each for each in listed if each["name"] == COLLECTION]
        assert any(each.startswith(f"{OLD}@") for each in models_of(ours))


def models_of(collection: dict[str, Any]) -> Sequence[str]:
    models: list[str] = collection["models"]
    return models


def enrol(api: httpx.Client, folder: Path, name: str | None = None) -> None:
    files = [("images", photo.read_bytes()) for photo in sorted(folder.iterdir())[:3]]
    fields = {"id": folder.name, **({"name": name} if name else {})}
    api.post("/generate", data=fields, files=files).raise_for_status()


def people(api: httpx.Client) -> People:
    listed = api.get("/identities").raise_for_status().json()["identities"]
    return {p["id"]: (p["name"], p["metadata"], p["created"], p["updated"]) for p in listed}


def who(api: httpx.Client, photo: Path) -> tuple[int | None, str]:
    answer = api.post("/infer", files={"image": photo.read_bytes()}).raise_for_status().json()
    return answer["faces"][0]["id"], answer["model"].partition("@")[0]
