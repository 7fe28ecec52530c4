from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from serving.errors import BadRequest, ModelMismatch
from serving.gallery import Gallery
from serving.gallery.interchange import import_people, read_export
from tests.memory_store import MemoryStore
from tests.unit.gallery.people import DIMENSION, MODEL, unit_rows

METADATA = {"format": "faces-export/1", "model": MODEL, "names": json.dumps({"7": "Ada"})}


def columns() -> dict[str, Any]:
    return {
        "ids": np.array([7, 3, 5]),
        "counts": np.array([2, 1, 3], np.int32),
        "embeddings": unit_rows(6, DIMENSION).astype(np.float16),
    }


def write(path: Path, columns: dict[str, Any], metadata: dict[str, str] | None) -> Path:
    safetensors.numpy.save_file(columns, path, metadata=metadata)
    return path


@pytest.fixture
def gallery() -> Gallery:
    return Gallery(MemoryStore(), "galleries", "default", MODEL, DIMENSION)


def test_everybody_is_imported(
    tmp_path: Path, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.gallery.interchange._PEOPLE_AT_ONCE", 2)
    export = read_export(write(tmp_path / "x.safetensors", columns(), METADATA))
    assert list(import_people(gallery, MODEL, export)) == [(2, 1), (3, 2)]
    people = gallery.refresh().list(9)
    assert [(p.id, p.photos, p.name) for p in people] == [
        (3, 1, None),
        (5, 3, None),
        (7, 2, "Ada"),
    ]
    ids, similarities, _ = gallery.snapshot.search(unit_rows(6, DIMENSION)[2:3], 1)
    assert ids.tolist() == [[3]]
    assert similarities[0, 0] == pytest.approx(1, abs=1e-3)


def test_another_models_embeddings_are_refused(tmp_path: Path, gallery: Gallery) -> None:
    export = read_export(write(tmp_path / "x", columns(), METADATA))
    other = "facenet-other@ffffffffffff"
    with pytest.raises(ModelMismatch, match=f"{MODEL}.*{other}"):
        list(import_people(gallery, other, export))


@pytest.mark.parametrize(
    "change",
    [
        {"ids": np.array([7, 7, 5])},
        {"counts": np.array([2, 1, 2], np.int32)},
        {"counts": np.array([6], np.int32)},
    ],
)
def test_a_file_that_contradicts_itself(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=r"x\.safetensors"):
        read_export(write(tmp_path / "x.safetensors", columns() | change, METADATA))


@pytest.mark.parametrize(
    "change",
    [
        {"ids": np.array([-7, 1, 5])},
        {"counts": np.array([3, 0, 3], np.int32)},
        {"embeddings": np.zeros((6, DIMENSION), np.float32)},
        {"embeddings": unit_rows(6, DIMENSION + 1)},
    ],
)
def test_what_no_gallery_can_hold(tmp_path: Path, gallery: Gallery, change: dict[str, Any]) -> None:
    export = read_export(write(tmp_path / "x.safetensors", columns() | change, METADATA))
    with pytest.raises(BadRequest, match="cannot be imported"):
        list(import_people(gallery, MODEL, export))
    assert len(gallery.refresh()) == 0


@pytest.mark.parametrize("metadata", [None, {"format": "other"}, {"format": "faces-export/1"}])
def test_other_safetensors_files_are_refused(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    with pytest.raises(BadRequest, match="no export"):
        read_export(write(tmp_path / "x", columns(), metadata))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"hello")
    with pytest.raises(BadRequest, match="no export"):
        read_export(tmp_path / "x")
    with pytest.raises(BadRequest, match="cannot be read"):
        read_export(tmp_path / "missing")
