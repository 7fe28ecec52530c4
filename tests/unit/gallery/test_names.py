"""Names and metadata of people: text of any script, and nothing that misleads who reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving.api.schemas import IdentitiesAnswer, Identity
from serving.gallery.names import details_problem, metadata_problem, name_problem
from tests.support.names import INVISIBLE, SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS.values(), ids=list(SCRIPTS))
def test_any_script_is_taken(name: str) -> None:
    assert name_problem(name) is None
    assert name_problem(f"  {name} ") is None


@pytest.mark.parametrize("name", INVISIBLE.values(), ids=list(INVISIBLE))
def test_a_name_is_seen(name: str) -> None:
    assert name_problem(name) == "A name needs a character that can be seen."


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029])
def test_no_control_characters(code: int) -> None:
    assert name_problem(f"A{chr(code)}b") == "A name has no control characters."
    assert name_problem(f"é{chr(code)}") == "A name has no control characters."


@pytest.mark.parametrize(
    "code", [0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
def test_no_bidirectional_controls(code: int) -> None:
    assert "direction of the text" in str(name_problem(f"Ada{chr(code)}txt"))


def test_half_a_surrogate_pair_is_no_text() -> None:
    assert "surrogate" in str(name_problem("Ada\ud800"))


def test_lengths_are_counted_in_characters() -> None:
    assert name_problem("") == "A name has 1 to 200 characters."
    assert name_problem("王" * 200) is None
    assert name_problem("王" * 201) == "A name has 1 to 200 characters."


@pytest.mark.parametrize("character", ["a", "é", "王", "𞤀"])
def test_metadata_is_counted_in_bytes_of_utf8(character: str) -> None:
    size = len(character.encode())
    empty = len(b'{"t":""}')
    count, rest = divmod(4096 - empty, size)
    fits = {"t": character * count + "x" * rest}
    assert len(json.dumps(fits, ensure_ascii=False, separators=(",", ":")).encode()) == 4096
    assert metadata_problem(fits) is None
    assert "4096 bytes" in str(metadata_problem({"t": fits["t"] + "x"}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", b"bytes", object()])
def test_metadata_is_json(value: Any) -> None:
    assert "JSON" in str(metadata_problem({"a": [value]}))


@pytest.mark.parametrize(
    ("details", "word"),
    [
        ({"name": "a\x1b[2J"}, "control"),
        ({"name": 7}, "text"),
        ({"metadata": [1]}, "object"),
        ({"metadata": {"a": "x" * 5000}}, "4096"),
    ],
)
def test_details_that_nobody_can_have(details: dict[str, Any], word: str) -> None:
    assert word in str(details_problem(details))


def test_details_may_be_left_out_or_empty() -> None:
    assert details_problem({}) is None
    assert details_problem({"name": None, "metadata": None}) is None
    assert details_problem({"name": "Имя", "metadata": {}, "origin": "x"}) is None


@pytest.mark.parametrize("inner", [lambda value: [value], lambda value: {"a": value}])
def test_metadata_has_no_more_levels_than_an_answer_can_tell(inner: Any) -> None:
    value: Any = 1
    for _ in range(199):
        value = inner(value)
    fits = {"a": value}
    assert metadata_problem(fits) is None
    person = Identity(id=7, name=None, metadata=fits, photos=1, model="m", created=0.0, updated=0.0)
    page = IdentitiesAnswer(identities=[person], next=None, total=1, model="m", gallery_version=1)
    assert json.loads(page.model_dump_json())["identities"][0]["metadata"] == fits
    for more in (1, 2000):
        for _ in range(more):
            value = inner(value)
        assert "200 levels" in str(metadata_problem({"a": value}))
