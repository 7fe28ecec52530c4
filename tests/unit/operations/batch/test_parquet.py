"""Results as Parquet: the rows of a line, and a job that goes on after a part."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from serving.operations.batch.formats import PARQUET, format_named
from serving.operations.batch.reading import Refused
from tests.unit.operations.batch.results import World, answer, photos

pytest.importorskip("pyarrow", reason="of the extra jobs; make install has it")

from serving.operations.batch import parquet

PAGE = Path(__file__).resolve().parents[4] / "docs" / "batch.md"
ADA = {"id": 2**63 - 1, "name": "Ada", "similarity": 0.9, "confidence": 0.99}
FACE: dict[str, Any] = {
    **ADA,
    "box": [1, 2, 3, 4],
    "detection_score": 0.5,
    "candidates": [ADA, {**ADA, "id": 0, "name": None}],
    "ambiguous": [],
    "quality": {"sufficient": True, "reasons": [], "side": 80.0},
    "liveness": {"live": True, "reason": None},
    "turn": 90,
}
PHOTO = {"more_faces": True, "threshold": 0.6, "model": "m@1", "gallery_version": 2}


def rows(*lines: dict[str, Any]) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(parquet.encode(lines)))
    assert table.schema.equals(parquet.SCHEMA)
    return [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]


def test_a_row_for_each_face() -> None:
    stranger = {**FACE, "id": None, "name": None, "liveness": None, "candidates": []}
    first, second = rows({"photo": "in/ü.jpg", "etag": "e", "faces": [FACE, stranger], **PHOTO})
    here = {"photo": "in/ü.jpg", "etag": "e", **PHOTO}
    more = {"box": [1, 2, 3, 4], "detection_score": 0.5, "turn": 90, "sufficient": True}
    nobody = {"id": 0, "similarity": 0.9, "confidence": 0.99, "name": None}
    assert first == {
        **here,
        **more,
        **ADA,
        "face": 0,
        "outcome": "named",
        "live": True,
        "ambiguous": [],
        "candidates": [ADA, nobody],
    }
    assert (second["face"], second["outcome"]) == (1, "unknown")
    assert {"id", "name", "live"}.isdisjoint(second)


def test_a_photo_without_a_face_and_one_with_an_error_have_a_row() -> None:
    error = {"type": "too-large", "status": None, "detail": "Too large."}
    empty, failed = rows(
        {"photo": "a", "etag": "e", "faces": [], **PHOTO},
        {"photo": "b", "etag": "f", "error": error},
    )
    assert empty == {"photo": "a", "etag": "e", **PHOTO}
    assert failed == {
        "photo": "b",
        "etag": "f",
        "error_type": "too-large",
        "error_detail": "Too large.",
    }


def test_an_answer_of_an_older_service() -> None:
    (row,) = rows({"photo": "a", "etag": "e", "faces": [{"id": None}]})
    assert row["outcome"] == "unknown"


def test_a_job_goes_on_after_a_part() -> None:
    world = World(photos(8))

    def fail(photo: bytes) -> dict[str, Any]:
        if photo == b"7":
            raise RuntimeError
        return answer(photo)

    asked = world.look_up
    world.look_up = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        world.run(format=PARQUET)
    assert world.names() == ["job.json", "part-000000.parquet", "part-000001.parquet"]

    def refuse(photo: bytes) -> dict[str, Any]:
        if photo == b"7":
            raise Refused("unsupported-image", 415, "No.")
        return asked(photo)

    world.look_up = refuse  # type: ignore[method-assign]
    summary = world.run(format=PARQUET).summary
    assert world.asked == [b"6"]
    assert (summary["photos"], summary["errors"]) == (8, {"unsupported-image": 1})
    last = world.out.objects["out/part-000002.parquet"].data
    assert format_named(PARQUET, "photo").last(last) == "in/007.jpg"


def test_the_page_has_every_column() -> None:
    text = PAGE.read_text()
    table = text[text.index("| column |") :].split("\n\n")[0]
    named = {
        name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    assert named == set(parquet.SCHEMA.names)
