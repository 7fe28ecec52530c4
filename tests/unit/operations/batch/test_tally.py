"""The counts of a job."""

from __future__ import annotations

import json

import pytest

from serving.errors import InvalidInput
from serving.operations.batch.tally import Tally

POOR: dict[str, object] = {"reasons": ["blurred"]}
FACES = [
    {"id": 7},
    {"id": 0},
    {"id": None},
    {"id": None, "quality": POOR},
    {"id": None, "ambiguous": [{}]},
    {"id": None, "liveness": {"live": False}},
]


def test_lines_are_counted() -> None:
    tally = Tally()
    tally.add({"faces": FACES, "model": "m@1", "gallery_version": 5})
    tally.add({"faces": [], "model": "m@2", "gallery_version": 4})
    tally.add({"faces": [], "model": "m@1", "gallery_version": 6})
    for kind in ("too-large", "gone", "too-large"):
        tally.add({"error": {"type": kind, "status": None, "detail": ""}})
    tally.seconds = 3.0
    counted = tally.summary(parts=2)
    assert counted == {
        "photos": 6,
        "faces": 6,
        "named": 2,
        "unknown": 1,
        "too_poor": 1,
        "ambiguous": 1,
        "not_live": 1,
        "without_faces": 2,
        "passed_over": 0,
        "errors": {"too-large": 2, "gone": 1},
        "models": ["m@1", "m@2"],
        "gallery_versions": [4, 6],
        "seconds": 3.0,
        "photos_per_second": 2.0,
        "parts": 2,
    }


def test_counts_survive_as_metadata() -> None:
    tally = Tally(errors={"gone": 1}, models=["mödel"], gallery_versions=[1, 2], seconds=1.5)
    text = tally.to_json()
    assert text.isascii()
    assert "\n" not in text
    assert Tally.from_json(text) == tally


@pytest.mark.parametrize("text", ["", "[]", '{"people": 1}', json.dumps([1, 2])])
def test_damaged_counts_are_told(text: str) -> None:
    with pytest.raises(InvalidInput, match="damaged"):
        Tally.from_json(text)


def test_nothing_takes_no_time() -> None:
    assert Tally().summary(0)["photos_per_second"] == 0.0
