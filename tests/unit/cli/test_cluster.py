"""`faces cluster` on the photos of `data/`, with the real model, and on results in a bucket."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from serving.cli import cli
from serving.cli.services import Services
from serving.errors import InvalidInput
from serving.model.repository import REPOSITORY
from serving.settings import DEFAULT_MODEL
from tests.support.images import DATA
from tests.support.memory_store import MemoryStore
from tests.support.operations import OneBucket

pytestmark = pytest.mark.skipif(
    not (REPOSITORY / DEFAULT_MODEL / "1").is_dir(), reason="not traced: make model"
)


def faces(*words: str | Path, store: MemoryStore | None = None) -> Result:
    options = ["--repository", str(REPOSITORY)]
    services = Services(connect=OneBucket(store or MemoryStore()))
    return CliRunner().invoke(cli, ["cluster", *map(str, words), *options], obj=services)


def test_the_people_of_some_photos_are_told_apart(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "groups"
    shutil.copytree(DATA / "people", photos)
    for name in ("group.jpg", "id_is_2576.jpg"):
        shutil.copy(DATA / name, photos / name)
    (photos / "broken.jpg").write_bytes(b"no photo")
    done = faces(photos, "--out", out)
    assert done.exit_code == 0, done.output
    groups = json.loads((out / "groups.json").read_text())
    assert sorted(sorted(face["photo"] for face in own["faces"]) for own in groups["groups"]) == [
        ["101/macron_2014.jpg", "101/macron_2025.jpg", "group.jpg"],
        ["102/obama.jpg", "group.jpg"],
        ["104/collins.jpg", "group.jpg"],
        ["group.jpg", "id_is_2576.jpg"],
    ]
    assert [face["photo"] for face in groups["alone"]] == ["103/sunak.jpg"]
    assert "4 groups of 9 faces" in done.stdout
    assert "1 faces are alone, 0 too poor to compare (threshold 0.45)" in done.stdout
    assert "1 photos could not be read." in done.stdout
    assert "broken.jpg: " in done.stderr


def test_results_of_a_job_are_grouped(tmp_path: Path) -> None:
    store = MemoryStore()
    model = json.loads((REPOSITORY / DEFAULT_MODEL / "model.json").read_text())["id"]
    etag = store.put("in/a.jpg", (DATA / "id_is_2576.jpg").read_bytes())
    face: dict[str, Any] = {"id": None, "box": [222, 153, 502, 529]}
    line = {"photo": "in/a.jpg", "etag": etag.strip('"'), "faces": [face], "model": model}
    store.put("out/job.json", json.dumps({"source": "s3://b/in/", "format": "jsonl"}).encode())
    store.put("out/summary.json", b"{}")
    store.put("out/part-000000.jsonl", json.dumps(line).encode() + b"\n")
    done = faces("s3://b/out", "--out", tmp_path / "g", "--min-faces", "1", store=store)
    assert done.exit_code == 0, done.output
    assert "1 groups of 1 faces" in done.stdout
    assert (tmp_path / "g" / "group-0001" / "0001.jpg").is_file()


@pytest.mark.parametrize(
    ("source", "sentence"),
    [("nowhere", "'nowhere' does not exist"), ("s3://", "is not of the form")],
)
def test_a_source_that_is_none(source: str, sentence: str, tmp_path: Path) -> None:
    done = faces(source, "--out", tmp_path / "g")
    assert done.exit_code == 2
    assert sentence in done.stderr


def test_a_source_that_is_a_file(tmp_path: Path) -> None:
    done = faces(DATA / "group.jpg", "--out", tmp_path / "g")
    assert isinstance(done.exception, InvalidInput)
    assert "group.jpg is no folder" in str(done.exception)
