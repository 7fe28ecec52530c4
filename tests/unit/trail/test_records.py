"""Records: where people are in them, and the memory that they take."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from serving.trail.records import Record, people_in, renamed, size_of
from tests.support.trails import looked_up


def test_people_are_found_and_renamed_at_any_depth() -> None:
    record = looked_up(7, ids=[7, 9])
    assert list(people_in(record)) == [7, 9, 7, 7, 8]
    other = renamed(record, lambda person: f"p-{person}")
    assert other["ids"] == ["p-7", "p-9"]
    (face,) = other["answers"][0]["faces"]
    assert (face["id"], [c["id"] for c in face["candidates"]]) == ("p-7", ["p-7", "p-8"])
    assert renamed(other, lambda pseudonym: int(pseudonym[2:])) == record


def test_a_stranger_has_no_name() -> None:
    face = renamed(looked_up(None), str)["answers"][0]["faces"][0]
    assert face["id"] is None


@pytest.mark.parametrize("doubt", [False, True])
@pytest.mark.parametrize(("faces", "candidates"), [(0, 0), (1, 1), (1, 10), (10, 1), (100, 5)])
def test_its_size_is_about_that_in_memory(faces: int, candidates: int, doubt: bool) -> None:
    face: Record = {
        "id": 1007,
        "similarity": 0.7123,
        "candidates": [{"id": 1007 + n, "similarity": n / 7} for n in range(candidates)],
    }
    if doubt:
        face["ambiguous"] = face["candidates"]
    text = json.dumps(
        looked_up(
            None, ids=[1007] * faces, answers=[{"threshold": 0.6123, "faces": [face] * faces}]
        )
    )
    tracemalloc.start()
    records: list[Record] = [json.loads(text) for _ in range(100)]
    used = tracemalloc.get_traced_memory()[0] / 100
    tracemalloc.stop()
    assert 0.5 < size_of(records[0]) / used < 2
