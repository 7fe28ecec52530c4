"""Parts of results: one after the other, whole, and of one run each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from serving.errors import CommitConflict, InvalidInput, Unavailable
from serving.operations.batch.formats import JSON_LINES, format_named
from serving.operations.batch.job import Place
from serving.operations.batch.parts import Part, Parts
from serving.operations.batch.tally import LookUpTally
from tests.support.memory_store import MemoryStore
from tests.unit.operations.batch.results import JOB, OUT

LINES = [{"photo": "in/a.jpg"}, {"photo": "in/ü\n\u2028\x85b.jpg"}]


def parts_of(store: MemoryStore, run: str = "r", job: str = JOB.digest()) -> Parts[LookUpTally]:
    jsonl = format_named(JSON_LINES, "photo")
    return Parts(Place(store, OUT), job, jsonl, LookUpTally, run, sleep=lambda seconds: None)


def failing(times: int) -> Callable[[str, str], None]:
    """Makes the first ``times`` writes fail, before they arrive or after."""
    left = times

    def fail(request: str, key: str) -> None:
        nonlocal left
        if request == "put" and left:
            left -= 1
            raise Unavailable("Lost.")

    return fail


def test_the_last_part_says_where_it_ends() -> None:
    store = MemoryStore()
    store.page_size = 1
    parts = parts_of(store)
    assert parts.last() is None
    parts.write(0, LINES[:1], LookUpTally(photos=1))
    parts.write(1, LINES, LookUpTally(photos=3))
    store.put("out/part-notes.txt", b"of somebody else")
    assert parts_of(store, "s").last() == Part(1, LINES[1]["photo"], LookUpTally(photos=3))
    assert store.objects["out/part-000001.jsonl"].data.isascii()
    assert store.objects["out/part-000001.jsonl"].data.count(b"\n") == 2


def test_a_part_is_of_one_run() -> None:
    store = MemoryStore()
    parts_of(store, "one").write(0, LINES[:1], LookUpTally())
    with pytest.raises(CommitConflict, match=r"Another run .* s3://results/out/part-000000.jsonl"):
        parts_of(store, "two").write(0, LINES, LookUpTally())
    assert store.objects["out/part-000000.jsonl"].data.count(b"\n") == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_request_or_reply_is_made_good(when: str) -> None:
    store = MemoryStore()
    setattr(store, when, failing(3))
    parts_of(store).write(0, LINES, LookUpTally())
    setattr(store, when, failing(0))
    assert parts_of(store).last() is not None


def test_a_store_that_stays_away_is_told() -> None:
    store = MemoryStore()
    store.before = failing(4)
    with pytest.raises(Unavailable):
        parts_of(store).write(0, LINES, LookUpTally())


def test_a_gap_is_told() -> None:
    store = MemoryStore()
    for n in range(3):
        parts_of(store).write(n, LINES, LookUpTally())
    store.delete("out/part-000001.jsonl")
    with pytest.raises(InvalidInput, match=r"part-000001\.jsonl is missing"):
        parts_of(store).last()


def test_parts_of_another_job_are_told() -> None:
    store = MemoryStore()
    parts_of(store).write(0, LINES, LookUpTally())
    with pytest.raises(InvalidInput, match="is no part of this job"):
        parts_of(store, job="another").last()
    store.put("out/part-000000.jsonl", b"{}")
    with pytest.raises(InvalidInput, match="is no part of this job"):
        parts_of(store).last()


def test_there_are_not_more_than_the_names_can_count() -> None:
    with pytest.raises(InvalidInput, match="--part-photos"):
        parts_of(MemoryStore()).write(10**6, LINES, LookUpTally())
