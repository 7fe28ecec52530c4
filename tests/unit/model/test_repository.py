"""A traced model is read whole and verified, or not at all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from serving.model.repository import CARD, CONFIG, MODEL, ModelError, TracedModel, id_of
from tests.support.model_repository import NAME, of_openvino, traced
from tests.support.stages import CARD as FAKE


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return traced(tmp_path)


def test_what_was_traced_is_read(repository: Path) -> None:
    model = TracedModel.read(repository, NAME)
    assert model.card == FAKE
    assert model.files[MODEL] == b"TorchScript"
    assert model.sha256 == hashlib.sha256(b"TorchScript").hexdigest()
    assert {name: (repository / NAME / name).read_bytes() for name in model.files} == model.files


@pytest.fixture
def openvino(tmp_path: Path) -> Path:
    return of_openvino(tmp_path / "openvino")


def test_a_model_of_openvino_has_two_files(openvino: Path) -> None:
    model = TracedModel.read(openvino, NAME)
    assert list(model.files) == ["1/model.bin", "1/model.xml", CONFIG, CARD]
    assert (model.weights, model.sha256) == ("1/model.bin", hashlib.sha256(b"weights").hexdigest())
    assert model.texts == ["1/model.xml", CONFIG, CARD]


@pytest.mark.parametrize("name", ["model.bin", "model.xml"])
def test_both_files_of_openvino_are_verified(openvino: Path, name: str) -> None:
    file = openvino / NAME / "1" / name
    file.write_bytes(b"half")
    with pytest.raises(ModelError, match=rf"{name} is damaged or half-written"):
        TracedModel.read(openvino, NAME)
    file.unlink()
    with pytest.raises(ModelError, match=r"not traced|cannot be read"):
        TracedModel.read(openvino, NAME)


@pytest.mark.parametrize("name", ["facenet-nobody", "..", "../x", "", "a/b", f"{NAME}/"])
def test_an_unknown_model_is_told_and_the_known_ones_too(repository: Path, name: str) -> None:
    with pytest.raises(ModelError, match=rf"no model .*; there are: {NAME}\."):
        TracedModel.read(repository, name)


def test_a_missing_repository(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there are: -\."):
        TracedModel.read(tmp_path / "none", NAME)


def test_a_card_without_a_model(repository: Path) -> None:
    (repository / NAME / MODEL).unlink()
    with pytest.raises(ModelError, match="not traced; run triton/trace_model"):
        TracedModel.read(repository, NAME)
    traced(repository)
    (repository / NAME / CARD).write_text(json.dumps({"name": NAME, "id": None}))
    with pytest.raises(ModelError, match="not traced; run triton/trace_model"):
        TracedModel.read(repository, NAME)


@pytest.mark.parametrize("missing", [CONFIG, "1/model.sha256"])
def test_a_missing_file_is_named(repository: Path, missing: str) -> None:
    (repository / NAME / missing).unlink()
    with pytest.raises(ModelError, match=f"{missing} cannot be read"):
        TracedModel.read(repository, NAME)


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        (CARD, b'{"id": "x"}', r"model\.json is no card"),
        (CARD, FAKE.model_copy(update={"name": "other"}).to_json().encode(), "model 'other'"),
        (CARD, FAKE.model_copy(update={"threshold": 0.7}).to_json().encode(), "another card"),
        (CONFIG, b"\xff", "another card"),
        (MODEL, b"TorchScr", "damaged or half-written"),
        ("1/model.sha256", b"", "says nothing"),
        ("1/model.sha256", b"\xff\xfe", "damaged or half-written"),
    ],
)
def test_what_is_not_whole_is_refused(
    repository: Path, file: str, content: bytes, told: str
) -> None:
    (repository / NAME / file).write_bytes(content)
    with pytest.raises(ModelError, match=told):
        TracedModel.read(repository, NAME)


@pytest.mark.parametrize("card", [b"", b"\xff", b"[]", b"{}", b'{"id": null}', b'{"id": 7}'])
def test_no_id(card: bytes) -> None:
    assert id_of(card) is None


def test_the_id_of_a_card_with_keys_that_are_not_known() -> None:
    assert id_of(b'{"id": "a@0123456789ab", "new": 1}') == "a@0123456789ab"
