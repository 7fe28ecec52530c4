"""An operator's work on the bucket that a configuration names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from serving.cli.config import read_config
from serving.errors import InvalidInput, ModelMismatch, Unavailable
from serving.gallery import Gallery, Segment
from serving.gallery.check import check
from serving.gallery.interchange import write_export
from serving.gallery.location import Location
from serving.operations import imports
from serving.operations.bucket import Bucket
from serving.operations.imports import import_path
from serving.settings import AppArgs, GallerySettings
from serving.stack.config import StackSettings, serve_config
from serving.stack.credentials import credentials
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, MODEL, put, unit_rows
from tests.support.service import FakeService, fake_service
from tests.support.stages import CARD

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
    store = MemoryStore()

    def open_store(settings: GallerySettings) -> MemoryStore:
        assert settings.collection == "staff"
        return store

    monkeypatch.setattr(imports, "open_store", open_store)
    return Gallery(store, "galleries", Location("staff", MODEL, DIMENSION))


def export(path: Path, *ids: int, model: str = MODEL) -> Path:
    path.parent.mkdir(exist_ok=True)
    people = [put(n, name="Ada" if n == 1 else "") for n in ids]
    write_export(path, model, DIMENSION, [Segment.of(people, DIMENSION)])
    return path


class TestImport:
    def test_one_file(self, tmp_path: Path, config: Path, gallery: Gallery) -> None:
        file = export(tmp_path / "people.safetensors", 1, 2)
        found: list[int] = []
        imported: list[int] = []
        args = read_config(config)
        assert import_path(file, args, found=found.append, imported=imported.append) == 1
        assert (found, imported) == ([2], [2])
        assert [(p.id, p.name) for p in gallery.refresh().list(9)] == [(1, "Ada"), (2, None)]

    def test_a_folder(self, tmp_path: Path, config: Path, gallery: Gallery) -> None:
        folder = tmp_path / "exports"
        export(folder / "b.safetensors", 4)
        export(folder / "a.safetensors", 1, 2, 3)
        (folder / "readme.txt").write_text("no export")
        assert import_path(folder, read_config(config)) == 1
        assert [p.id for p in gallery.refresh().list(9)] == [1, 2, 3, 4]

    def test_tensors_need_to_be_told_their_model(
        self, tmp_path: Path, config: Path, gallery: Gallery
    ) -> None:
        folder = tmp_path / "exports"
        export(folder / "a.safetensors", 1)
        torch.save(torch.from_numpy(unit_rows(2, DIMENSION)), folder / "7.pt")
        with pytest.raises(InvalidInput, match=rf"--made-by \(served is {MODEL}\)"):
            import_path(folder, read_config(config))
        with pytest.raises(ModelMismatch, match="facenet-other"):
            import_path(folder, read_config(config), made_by="facenet-other@ffffffffffff")
        assert len(gallery.refresh()) == 0
        import_path(folder, read_config(config), made_by=MODEL)
        assert [(p.id, p.photos) for p in gallery.refresh().list(9)] == [(1, 1), (7, 2)]
        import_path(folder / "7.pt", read_config(config), made_by=MODEL, append=True)
        assert [(p.id, p.photos) for p in gallery.refresh().list(9)] == [(1, 1), (7, 4)]

    def test_a_bad_file_among_good_ones_leaves_the_gallery_as_it_was(
        self, tmp_path: Path, config: Path, gallery: Gallery
    ) -> None:
        export(tmp_path / "exports" / "a.safetensors", 1)
        (tmp_path / "exports" / "b.safetensors").write_bytes(b"damaged")
        with pytest.raises(InvalidInput, match=r"b\.safetensors"):
            import_path(tmp_path / "exports", read_config(config))
        assert len(gallery.refresh()) == 0

    def test_embeddings_of_another_model(
        self, tmp_path: Path, config: Path, gallery: Gallery
    ) -> None:
        other = "facenet-other@ffffffffffff"
        file = export(tmp_path / "x.safetensors", 1, model=other)
        with pytest.raises(ModelMismatch, match=other):
            import_path(file, read_config(config))
        assert len(gallery.refresh()) == 0

    def test_a_folder_without_people(self, tmp_path: Path, config: Path) -> None:
        (tmp_path / "exports").mkdir()
        with pytest.raises(InvalidInput, match=r"no \.safetensors or \.pt files"):
            import_path(tmp_path / "exports", read_config(config))

    def test_triton_is_away(
        self, tmp_path: Path, config: Path, gallery: Gallery, triton: FakeService
    ) -> None:
        triton.status, triton.body = 503, {"error": "unavailable"}
        with pytest.raises(Unavailable, match="Triton"):
            import_path(export(tmp_path / "x.safetensors", 1), read_config(config))


class TestBucket:
    @pytest.fixture
    def bucket(self) -> Bucket:
        return Bucket(MemoryStore(), GallerySettings(), "facenet-test")

    def write(self, bucket: Bucket, collection: str, *models: str) -> None:
        for model in models:
            bucket.gallery(Location(collection, model, DIMENSION)).commit([put(1)])

    def test_there_is_none(self, bucket: Bucket) -> None:
        self.write(bucket, "staff", MODEL)
        with pytest.raises(InvalidInput, match="'faces' holds no gallery of default and any model"):
            bucket.one(None)
        assert bucket.galleries("staff", "facenet-x@1") == []
        assert "no gallery of staff and facenet-x@1" in bucket.none("staff", "facenet-x@1")

    def test_the_only_one(self, bucket: Bucket) -> None:
        self.write(bucket, "default", "facenet-other@ffffffffffff")
        assert bucket.one(None).model == "facenet-other@ffffffffffff"

    def test_of_several_the_one_that_is_configured_or_asked_for(self, bucket: Bucket) -> None:
        other = "facenet-other@ffffffffffff"
        self.write(bucket, "default", MODEL, other)
        assert bucket.one(None).model == MODEL
        assert bucket.one(other).model == other
        assert check(bucket.stored(bucket.one(other))).embeddings == 1

    def test_of_several_that_might_be_meant_none_is_guessed(self, bucket: Bucket) -> None:
        self.write(bucket, "default", "facenet-test@111111111111", "facenet-test@222222222222")
        with pytest.raises(InvalidInput, match=r"--model: .*1@?.*, .*222222222222"):
            bucket.one(None)

    def test_another_collection_can_be_named(self) -> None:
        assert Bucket.of(AppArgs(), "staff").settings.collection == "staff"
        assert Bucket.of(AppArgs(), None).settings.collection == "default"


class TestConfig:
    def test_the_arguments_are_the_applications(self, config: Path) -> None:
        assert read_config(config).gallery.collection == "staff"

    def test_the_stacks_keys_are_used(self, config: Path) -> None:
        made = credentials(config.parent)
        read_config(config)
        assert {name: os.environ[name] for name in KEYS} == made

    def test_keys_in_the_environment_come_first(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        credentials(config.parent)
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
        with pytest.raises(InvalidInput, match=r"x\.yaml is no serveConfigV2 of this service"):
            read_config(tmp_path / "x.yaml")
