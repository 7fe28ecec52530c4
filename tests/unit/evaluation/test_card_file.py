"""Writing a card: both files or a sentence, never half a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from google.protobuf import text_format  # type: ignore[import-untyped]

from serving.evaluation.card_file import write_card
from serving.evaluation.sample import NotMeasurable, read_card
from serving.model.impostors import Impostors
from tests.support.model_config import model_config_pb2
from tests.support.stages import CARD

NEW = CARD.model_copy(
    update={
        "source": "line\nbreak, 'quotes', \"more\", \\1 \\g<1> and é",
        "impostors": Impostors(mean=0.02, dimensions=40, measured_on='17 "people"'),
    }
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    config = (
        'name: "facenet-test"\nmax_batch_size: 32\n'
        f'parameters {{\n  key: "card"\n  value {{ string_value: {CARD.to_pbtxt()} }}\n}}\n'
        'parameters {\n  key: "other"\n  value { string_value: "stays" }\n}\n'
    )
    (tmp_path / "config.pbtxt").write_text(config)
    (tmp_path / "model.json").write_text(CARD.to_json())
    return tmp_path / "model.json"


def served(path: Path) -> object:
    text = path.with_name("config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_both_files_tell_the_new_card(path: Path) -> None:
    write_card(path, NEW)
    assert read_card(path) == NEW
    config = served(path)
    assert config.parameters["card"].string_value == NEW.to_json()  # type: ignore[attr-defined]
    assert config.parameters["other"].string_value == "stays"  # type: ignore[attr-defined]
    assert config.max_batch_size == 32  # type: ignore[attr-defined]
    write_card(path, CARD)
    assert read_card(path) == CARD
    assert sorted(p.name for p in path.parent.iterdir()) == ["config.pbtxt", "model.json"]


def test_a_configuration_without_a_card(path: Path) -> None:
    path.with_name("config.pbtxt").write_text('name: "facenet-test"\n')
    before = path.read_text()
    with pytest.raises(NotMeasurable, match="holds no card"):
        write_card(path, NEW)
    assert path.read_text() == before


def test_no_configuration(path: Path) -> None:
    path.with_name("config.pbtxt").unlink()
    with pytest.raises(NotMeasurable, match=r"config\.pbtxt cannot be written"):
        write_card(path, NEW)


def test_a_full_disk_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_text(), path.with_name("config.pbtxt").read_text()

    def full(part: Path, target: Path) -> None:
        raise OSError(28, os.strerror(28), str(target))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(NotMeasurable, match="No space left"):
        write_card(path, NEW)
    assert (path.read_text(), path.with_name("config.pbtxt").read_text()) == before
    assert not list(path.parent.glob("*.part"))


@pytest.mark.parametrize("text", ["", "{", '{"name": "facenet-x", "id": null}'])
def test_what_is_no_card(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(NotMeasurable, match="no card"):
        read_card(path)
