"""Files of embeddings are imported into the gallery of the served model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from serving.errors import InvalidInput, ModelMismatch, Unavailable
from serving.gallery import Gallery, Segment
from serving.gallery.interchange import write_export
from serving.gallery.location import Location
from serving.operations.config import Config
from serving.operations.imports import import_path
from serving.settings import AppArgs, GallerySettings, TritonSettings
from tests.support.memory_store import MemoryStore
from tests.support.operations import OneBucket, fake_triton
from tests.support.people import DIMENSION, MODEL, put, unit_rows
from tests.support.service import FakeService

KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


@pytest.fixture
def triton() -> Iterator[FakeService]:
    with fake_triton() as triton:
        yield triton


@pytest.fixture
def config(triton: FakeService) -> Config:
    args = AppArgs(
        triton=TritonSettings(url=triton.url), gallery=GallerySettings(collection="staff")
    )
    return Config(args, KEYS)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def bucket(store: MemoryStore) -> OneBucket:
    return OneBucket(store)


@pytest.fixture
def gallery(store: MemoryStore) -> Gallery:
    return Gallery(store, "galleries", Location("staff", MODEL, DIMENSION))


def export(path: Path, *ids: int, model: str = MODEL) -> Path:
    path.parent.mkdir(exist_ok=True)
    people = [put(n, name="Ada" if n == 1 else "") for n in ids]
    write_export(path, model, DIMENSION, [Segment.of(people, DIMENSION)])
    return path


def test_one_file(tmp_path: Path, config: Config, bucket: OneBucket, gallery: Gallery) -> None:
    file = export(tmp_path / "people.safetensors", 1, 2)
    found: list[int] = []
    imported: list[int] = []
    assert (
        import_path(file, config, connect=bucket, found=found.append, imported=imported.append) == 1
    )
    assert (found, imported) == ([2], [2])
    assert bucket.credentials == KEYS
    assert [(p.id, p.name) for p in gallery.refresh().list(9)] == [(1, "Ada"), (2, None)]


def test_more_people_than_a_collection_may_hold(
    tmp_path: Path, config: Config, bucket: OneBucket, gallery: Gallery
) -> None:
    file = export(tmp_path / "people.safetensors", 1, 2, 3)
    match = config.args.match.model_copy(update={"max_people": 2})
    small = replace(config, args=config.args.model_copy(update={"match": match}))
    with pytest.raises(InvalidInput, match=r"These are 3 people, and match.max_people allows 2"):
        import_path(file, small, connect=bucket)
    assert len(gallery.refresh()) == 0


def test_a_folder(tmp_path: Path, config: Config, bucket: OneBucket, gallery: Gallery) -> None:
    folder = tmp_path / "exports"
    export(folder / "b.safetensors", 4)
    export(folder / "a.safetensors", 1, 2, 3)
    (folder / "readme.txt").write_text("no export")
    assert import_path(folder, config, connect=bucket) == 1
    assert [p.id for p in gallery.refresh().list(9)] == [1, 2, 3, 4]


def test_tensors_need_to_be_told_their_model(
    tmp_path: Path, config: Config, bucket: OneBucket, gallery: Gallery
) -> None:
    folder = tmp_path / "exports"
    export(folder / "a.safetensors", 1)
    torch.save(torch.from_numpy(unit_rows(2, DIMENSION)), folder / "7.pt")
    with pytest.raises(InvalidInput, match=rf"--made-by \(served is {MODEL}\)"):
        import_path(folder, config, connect=bucket)
    with pytest.raises(ModelMismatch, match="facenet-other"):
        import_path(folder, config, connect=bucket, made_by="facenet-other@ffffffffffff")
    assert len(gallery.refresh()) == 0
    import_path(folder, config, connect=bucket, made_by=MODEL)
    assert [(p.id, p.photos) for p in gallery.refresh().list(9)] == [(1, 1), (7, 2)]
    import_path(folder / "7.pt", config, connect=bucket, made_by=MODEL, append=True)
    assert [(p.id, p.photos) for p in gallery.refresh().list(9)] == [(1, 1), (7, 4)]


def test_without_torch_tensors_are_told_with_what_to_install(
    tmp_path: Path, config: Config, bucket: OneBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "7.pt").touch()
    monkeypatch.delitem(sys.modules, "serving.operations.tensor_files", raising=False)
    monkeypatch.delattr("serving.operations.tensor_files", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InvalidInput, match=r"pip install 'facenet-serving\[torch\]'"):
        import_path(tmp_path / "7.pt", config, connect=bucket, made_by=MODEL)


def test_a_folder_of_exports_whose_name_ends_like_a_tensors(
    tmp_path: Path, config: Config, bucket: OneBucket, gallery: Gallery
) -> None:
    export(tmp_path / "all.pt" / "7.safetensors", 7)
    import_path(tmp_path / "all.pt", config, connect=bucket)
    assert [p.id for p in gallery.refresh().list(9)] == [7]


def test_a_bad_file_among_good_ones_leaves_the_gallery_as_it_was(
    tmp_path: Path, config: Config, bucket: OneBucket, gallery: Gallery
) -> None:
    export(tmp_path / "exports" / "a.safetensors", 1)
    (tmp_path / "exports" / "b.safetensors").write_bytes(b"damaged")
    with pytest.raises(InvalidInput, match=r"b\.safetensors"):
        import_path(tmp_path / "exports", config, connect=bucket)
    assert len(gallery.refresh()) == 0


def test_embeddings_of_another_model(
    tmp_path: Path, config: Config, bucket: OneBucket, gallery: Gallery
) -> None:
    other = "facenet-other@ffffffffffff"
    file = export(tmp_path / "x.safetensors", 1, model=other)
    with pytest.raises(ModelMismatch, match=other):
        import_path(file, config, connect=bucket)
    assert len(gallery.refresh()) == 0


def test_a_folder_without_people(tmp_path: Path, config: Config, bucket: OneBucket) -> None:
    (tmp_path / "exports").mkdir()
    with pytest.raises(InvalidInput, match=r"no \.safetensors or \.pt files"):
        import_path(tmp_path / "exports", config, connect=bucket)


def test_triton_is_away(
    tmp_path: Path, config: Config, bucket: OneBucket, gallery: Gallery, triton: FakeService
) -> None:
    triton.status, triton.body = 503, {"error": "unavailable"}
    with pytest.raises(Unavailable, match="Triton"):
        import_path(export(tmp_path / "x.safetensors", 1), config, connect=bucket)
