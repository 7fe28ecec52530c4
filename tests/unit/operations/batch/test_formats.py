"""Formats of results, and one whose package is not there."""

from __future__ import annotations

import json
import sys

import pytest

from serving.errors import InvalidInput
from serving.operations import batch
from serving.operations.batch.formats import JSON_LINES, PARQUET, format_named
from tests.unit.operations.batch.results import World, photos

LINES = [{"photo": "in/a.jpg", "faces": []}, {"photo": "in/ü\n\u2028\x85b.jpg", "faces": []}]


def test_json_lines() -> None:
    jsonl = format_named(JSON_LINES, "photo")
    data = jsonl.encode(LINES)
    assert data.isascii()
    assert [json.loads(line) for line in data.splitlines()] == LINES
    assert jsonl.last(data) == LINES[-1]["photo"]


def test_parquet_without_its_package_is_told_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(batch, "parquet", raising=False)
    monkeypatch.delitem(sys.modules, "serving.operations.batch.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    world = World(photos(1))
    with pytest.raises(InvalidInput, match=r"facenet-serving\[jobs\]"):
        world.run(format=PARQUET)
    assert world.names() == []
    assert world.asked == []
