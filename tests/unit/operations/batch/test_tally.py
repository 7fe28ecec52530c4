"""The counts of a job."""

from __future__ import annotations

import json

import pytest

from serving.errors import InvalidInput
from serving.operations.batch.tally import EnrolmentTally, LookUpTally

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
    tally = LookUpTally()
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
    tally = LookUpTally(errors={"gone": 1}, models=["mödel"], gallery_versions=[1, 2], seconds=1.5)
    text = tally.to_json()
    assert text.isascii()
    assert "\n" not in text
    assert LookUpTally.from_json(text) == tally


@pytest.mark.parametrize("text", ["", "[]", '{"people": 1}', json.dumps([1, 2])])
def test_damaged_counts_are_told(text: str) -> None:
    with pytest.raises(InvalidInput, match="damaged"):
        LookUpTally.from_json(text)


def test_nothing_takes_no_time() -> None:
    assert LookUpTally().summary(0)["photos_per_second"] == 0.0


def test_people_are_counted_with_their_photos() -> None:
    tally = EnrolmentTally()
    line = {"photos": 3, "used": 2, "conflicts": [{}], "model": "m@1", "gallery_version": 4}
    tally.add(line)
    tally.add({**line, "used": 0, "error": {"type": "no-usable-face"}})
    assert (tally.lines, tally.people, tally.enrolled) == (2, 2, 1)
    assert (tally.photos, tally.used, tally.conflicts) == (6, 2, 2)
    assert tally.errors == {"no-usable-face": 1}
    assert tally.gallery_versions == [4, 4]
    assert EnrolmentTally.from_json(tally.to_json()) == tally
