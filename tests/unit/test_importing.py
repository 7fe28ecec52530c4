"""Importing files into the gallery that a configuration names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import yaml

from serving import importing
from serving.errors import BadRequest, ModelMismatch, Unavailable
from serving.gallery import Gallery
from serving.importing import import_path, read_config
from serving.local import s3
from serving.settings import GallerySettings
from serving.stack import StackSettings, serve_config
from tests.memory_store import MemoryStore
from tests.unit.fakes import CARD, FakeService, fake_service
from tests.unit.gallery.people import DIMENSION, MODEL, unit_rows

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)


@pytest.fixture
def triton() -> Iterator[FakeService]:
    """A Triton that is asked for nothing but its model's configuration."""
    with fake_service() as service:
        service.body = {
            "max_batch_size": 32,
            "input": [{"name": "INPUT__0"}],
            "output": [{"name": "OUTPUT__0"}],
            "parameters": {"card": {"string_value": CARD.to_json()}},
        }
        yield service


@pytest.fixture
def config(tmp_path: Path, triton: FakeService) -> Path:
    overrides = {"triton": {"url": triton.url}, "gallery": {"collection": "staff"}}
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(serve_config(StackSettings(overrides=overrides))))
    return path


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> Gallery:
    gallery = Gallery(MemoryStore(), "galleries", "staff", MODEL, DIMENSION)

    def open_gallery(settings: GallerySettings, model: str, dimension: int) -> Gallery:
        assert (settings.collection, model, dimension) == ("staff", MODEL, DIMENSION)
        return gallery

    monkeypatch.setattr(importing, "open_gallery", open_gallery)
    return gallery


def export(path: Path, *ids: int, model: str = MODEL) -> Path:
    columns = {
        "ids": np.array(ids),
        "counts": np.ones(len(ids), np.int32),
        "embeddings": unit_rows(len(ids), DIMENSION),
    }
    path.parent.mkdir(exist_ok=True)
    metadata = {"format": "faces-export/1", "model": model, "names": json.dumps({"1": "Ada"})}
    safetensors.numpy.save_file(columns, path, metadata=metadata)
    return path


def test_one_file(tmp_path: Path, config: Path, gallery: Gallery) -> None:
    file = export(tmp_path / "people.safetensors", 1, 2)
    assert list(import_path(file, config)) == [(2, 2, 1)]
    assert [(p.id, p.name) for p in gallery.refresh().list(9)] == [(1, "Ada"), (2, None)]


def test_a_folder_counts_over_all_of_its_files(
    tmp_path: Path, config: Path, gallery: Gallery
) -> None:
    export(tmp_path / "exports" / "b.safetensors", 4)
    export(tmp_path / "exports" / "a.safetensors", 1, 2, 3)
    (tmp_path / "exports" / "readme.txt").write_text("no export")
    assert list(import_path(tmp_path / "exports", config)) == [(3, 4, 1), (4, 4, 2)]
    assert [p.id for p in gallery.refresh().list(9)] == [1, 2, 3, 4]


def test_a_bad_file_among_good_ones_leaves_the_gallery_as_it_was(
    tmp_path: Path, config: Path, gallery: Gallery
) -> None:
    export(tmp_path / "exports" / "a.safetensors", 1)
    (tmp_path / "exports" / "b.safetensors").write_bytes(b"damaged")
    with pytest.raises(BadRequest, match=r"b\.safetensors"):
        list(import_path(tmp_path / "exports", config))
    assert len(gallery.refresh()) == 0


def test_embeddings_of_another_model(tmp_path: Path, config: Path, gallery: Gallery) -> None:
    other = "facenet-other@ffffffffffff"
    with pytest.raises(ModelMismatch, match=other):
        list(import_path(export(tmp_path / "x.safetensors", 1, model=other), config))
    assert len(gallery.refresh()) == 0


def test_a_folder_without_exports(tmp_path: Path, config: Path) -> None:
    (tmp_path / "exports").mkdir()
    with pytest.raises(BadRequest, match="no safetensors files"):
        list(import_path(tmp_path / "exports", config))


def test_triton_is_away(
    tmp_path: Path, config: Path, gallery: Gallery, triton: FakeService
) -> None:
    triton.status, triton.body = 503, {"error": "unavailable"}
    with pytest.raises(Unavailable, match="Triton"):
        list(import_path(export(tmp_path / "x.safetensors", 1), config))


class TestConfig:
    def test_the_arguments_are_the_applications(self, config: Path) -> None:
        assert read_config(config).gallery.collection == "staff"

    def test_the_stacks_keys_are_used(self, config: Path) -> None:
        made = s3.credentials(config.parent)
        read_config(config)
        assert {name: os.environ[name] for name in KEYS} == made

    def test_keys_in_the_environment_come_first(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        s3.credentials(config.parent)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
        read_config(config)
        assert os.environ["AWS_ACCESS_KEY_ID"] == "mine"
        assert "AWS_SECRET_ACCESS_KEY" not in os.environ

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"[1]",
            b"applications: []",
            b"applications: [{name: faces}]",
            b"applications: [{args: {tritn: {}}}]",
            b"\xff\xfe\x00",
        ],
    )
    def test_what_is_no_configuration(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x.yaml").write_bytes(content)
        with pytest.raises(BadRequest, match=r"x\.yaml is no serveConfigV2 of this service"):
            read_config(tmp_path / "x.yaml")
