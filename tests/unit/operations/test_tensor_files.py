"""Embeddings that others saved with torch."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from serving.errors import InvalidInput
from serving.gallery import Kind, Segment
from serving.operations import tensor_files
from tests.support.people import DIMENSION, MODEL, unit_rows


def save(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path)
    return path


def rows(count: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(unit_rows(count, DIMENSION, seed=seed))


def read(path: Path) -> Segment:
    files = tensor_files.find(path, MODEL)
    assert files.model == MODEL
    segment = Segment.joined(list(files.segments(Kind.PUT, 5.0)))
    assert files.ids.tolist() == segment.id.tolist()
    return segment


def test_a_file_is_named_by_the_id(tmp_path: Path) -> None:
    segment = read(save(tmp_path / "7.pt", rows(3)))
    assert (segment.id.tolist(), segment.count.tolist()) == ([7], [3])
    np.testing.assert_allclose(segment.embeddings, unit_rows(3, DIMENSION), atol=1e-3)


def test_a_folder_is_named_by_the_id_or_holds_files_and_folders_that_are(tmp_path: Path) -> None:
    save(tmp_path / "people/7/a.pt", rows(2, seed=1))
    save(tmp_path / "people/7/b.pt", rows(1, seed=2)[0])  # one photo, as a plain vector
    save(tmp_path / "people/12.pt", rows(1))
    (tmp_path / "people/empty").mkdir()
    (tmp_path / "people/readme.txt").write_text("no tensor")
    whole = read(tmp_path / "people")
    assert (whole.id.tolist(), whole.count.tolist()) == ([12, 7], [1, 3])
    one = read(tmp_path / "people/7")
    assert (one.id.tolist(), one.count.tolist()) == ([7], [3])
    np.testing.assert_allclose(one.embeddings[2:], unit_rows(1, DIMENSION, seed=2), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_dtype_and_any_length(tmp_path: Path, dtype: torch.dtype) -> None:
    segment = read(save(tmp_path / "7.pt", (rows(1) * 12).to(dtype)))
    np.testing.assert_allclose(segment.embeddings, unit_rows(1, DIMENSION), atol=2e-2)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("evil"),)


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(2, DIMENSION),
        torch.full((1, DIMENSION), float("nan")),
        torch.full((1, DIMENSION), float("inf")),
        torch.full((1, DIMENSION), 3e38),
        torch.empty(0, DIMENSION),
        torch.ones(2, 3, DIMENSION),
        torch.ones(1, DIMENSION, dtype=torch.int64),
        torch.ones(1, DIMENSION).to_sparse(),
        torch.ones(1, DIMENSION, device="meta"),
        {"7": torch.ones(1, DIMENSION)},
        [1.0],
    ],
    ids=[
        *("zeros", "nan", "inf", "too large", "empty", "three dimensions", "integers"),
        *("sparse", "meta", "dict", "list"),
    ],
)
def test_what_is_no_embedding(tmp_path: Path, value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"7\.pt"):
        read(save(tmp_path / "7.pt", value))


@pytest.mark.parametrize("data", [b"", b"hello", pickle.dumps(Evil())])
def test_other_bytes_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "7.pt").write_bytes(data)
    with pytest.raises(InvalidInput, match=r"7\.pt holds no tensor that can be read safely"):
        read(tmp_path / "7.pt")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("name", ["ada.pt", "ada/1.pt", "-7.pt", f"{2**63}.pt", "７.pt"])
def test_what_is_not_named_by_an_id(tmp_path: Path, name: str) -> None:
    save(tmp_path / "people" / name, rows(1))
    with pytest.raises(InvalidInput, match="numeric id"):
        read(tmp_path / "people")


def test_files_of_one_person_that_do_not_fit_together(tmp_path: Path) -> None:
    save(tmp_path / "7" / "a.pt", rows(2))
    save(tmp_path / "7" / "b.pt", torch.randn(1, DIMENSION + 1))
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / '7' / 'b.pt'} holds embeddings of {DIMENSION + 1} numbers, but "
        f"{tmp_path / '7' / 'a.pt'} holds some of {DIMENSION}."
    )
