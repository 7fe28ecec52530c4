"""Metadata of people, and their details as files have them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from serving.api.schemas import IdentitiesAnswer, Identity
from serving.gallery.names import details_problem, metadata_problem


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
    person = Identity(
        id=7,
        name=None,
        metadata=fits,
        expires_at=None,
        legal_basis=None,
        distinct=[],
        photos=1,
        model="m",
        created=0.0,
        updated=0.0,
    )
    page = IdentitiesAnswer(
        days_kept=None, identities=[person], next=None, total=1, model="m", gallery_version=1
    )
    assert json.loads(page.model_dump_json())["identities"][0]["metadata"] == fits
    for more in (1, 2000):
        for _ in range(more):
            value = inner(value)
        assert "200 levels" in str(metadata_problem({"a": value}))
