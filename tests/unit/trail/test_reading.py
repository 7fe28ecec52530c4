"""Search in the audit's objects: filters, ids, and who was erased."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import serving
from serving.errors import InvalidInput
from serving.trail import people, reading
from serving.trail.reading import Query
from serving.trail.records import ACTIONS
from tests.support.trails import DAY_S, NOON, MemoryTrails, looked_up


@pytest.fixture(scope="module")
def trails() -> MemoryTrails:
    """Records of three days, by two replicas."""
    made = MemoryTrails()
    made.write(
        [
            looked_up(7, request_id="a", key="gate", ended="2026-11-29T10:00:00.000Z"),
            looked_up(None, request_id="b", key="desk", ended="2026-11-29T11:00:00.000Z"),
        ],
        replica="one",
    )
    made.now = NOON + DAY_S
    made.write(
        [
            looked_up(7, request_id="c", collection="shop", ended="2026-11-30T10:00:00.000Z"),
            {
                "action": "verify",
                "request_id": "d",
                "key": "gate",
                "collection": "default",
                "ids": [],
                "inputs": ["cd" * 32],
                "ended": "2026-11-30T10:30:00.000Z",
            },
        ],
        replica="two",
    )
    made.now = NOON + 2 * DAY_S
    made.write([looked_up(10, request_id="e", ended="2026-12-01T10:00:00.000Z")], replica="three")
    return made


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(), "abcde"),
        (Query(since="2026-11-30"), "cde"),
        (Query(since="2026-11-29T10:30"), "bcde"),
        (Query(until="2026-11-30T10:30"), "abc"),
        (Query(since="2026-11-30", until="2026-12-01"), "cd"),
        (Query(collection="shop"), "c"),
        (Query(person=7), "ac"),
        (Query(person=7, collection="default"), "a"),
        (Query(person=8), "abce"),  # a candidate in all of them
        (Query(person=11), ""),
        (Query(key="desk"), "b"),
        (Query(action="verify"), "d"),
        (Query(request_id="e"), "e"),
        (Query(input="ab" * 32), "abce"),
        (Query(input="cd" * 32), "d"),
    ],
)
def test_finds_what_matches(trails: MemoryTrails, query: Query, found: str) -> None:
    ids = [record["request_id"] for record in reading.search(trails.places, query)]
    assert sorted(ids) == list(found)


def test_reads_only_the_days_that_may_match(trails: MemoryTrails) -> None:
    trails.store.requests.clear()
    list(reading.search(trails.places, Query(since="2026-12-01")))
    read = [key for request, key in trails.store.requests if request == "get"]
    assert read
    assert all("/2026-12-01/" in key for key in read)


def test_records_that_were_written_days_late_are_found() -> None:
    trails = MemoryTrails()
    trails.now = NOON + 3 * DAY_S  # the store was away
    trails.write([looked_up()])
    assert len(list(reading.search(trails.places, Query(until="2026-11-30")))) == 1
    assert list(reading.search(trails.places, Query(until="2026-11-24"))) == []


def test_who_was_erased_is_a_pseudonym_and_is_found_by_no_id() -> None:
    trails = MemoryTrails()
    trails.write([looked_up(7), looked_up(10)])
    assert people.forget(trails.places, "default", 7) == 1
    assert list(reading.search(trails.places, Query(person=7))) == []
    first, second = reading.search(trails.places, Query())
    pseudonym = first["ids"][0]
    assert pseudonym.startswith("p-")
    (face,) = first["answers"][0]["faces"]
    assert (face["id"], face["candidates"][1]["id"]) == (pseudonym, 8)
    assert second == looked_up(10)
    reports, _ = reading.check(trails.places)
    assert [report.problems for report in reports] == [[]]  # nothing was rewritten
    assert not [key for key in trails.store.objects if "/people/default/7/" in key]


def test_a_person_of_another_collection_keeps_the_id() -> None:
    trails = MemoryTrails()
    trails.write([looked_up(7), looked_up(7, collection="shop")])
    people.forget(trails.places, "default", 7)
    (record,) = reading.search(trails.places, Query(person=7))
    assert record["collection"] == "shop"


def test_an_id_that_a_replica_writes_late_is_not_shown() -> None:
    trails = MemoryTrails()
    trail = trails.start()
    trail.add(looked_up(7))
    people.forget(trails.places, "default", 7)  # elsewhere
    trails.now += 60
    trail.close(10)
    assert [key for key in trails.store.objects if "/people/default/7/" in key]
    assert list(reading.search(trails.places, Query(person=7))) == []


def test_who_is_enrolled_anew_later_has_the_id_again() -> None:
    trails = MemoryTrails()
    people.forget(trails.places, "default", 7)
    trails.now += 2 * people.LATE_S
    trails.write([looked_up(7)])
    assert len(list(reading.search(trails.places, Query(person=7)))) == 1


def test_what_else_lies_in_the_bucket_is_left_alone() -> None:
    trails = MemoryTrails()
    for key in ("records/README", "records/2026-11-29/x/y.jsonl", "people/x", "erased/default/x"):
        trails.store.put(f"audit/{key}", b"?")
    assert reading.check(trails.places) == ([], None)
    assert list(reading.search(trails.places, Query())) == []


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"action": "Identify"}, "Identify is no action of the audit; did you mean identify?"),
        ({"action": "xyz"}, "xyz is no action of the audit; there are identify, verify, "),
        ({"since": "2027-01-01", "until": "2026-01-01"}, "has to be later than since"),
        ({"since": "2027-01-01", "until": "2027-01-01"}, "has to be later than since"),
    ],
)
def test_what_no_record_can_match_is_refused(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(told)):
        Query(**asked)


def test_every_action_that_is_written_can_be_searched() -> None:
    written = re.compile(
        r"(?:\.change\(request|audit\.changed\(|_record\(request|_erased\(request, response"
        r"|report_erasure\(|_report\(opened|_undo\(Opened\([^)]*\)|_undo\(opened)"
        r"""(?:, )?"([a-z-]+)"|Kind\.[A-Z]+: "([a-z-]+)"[,}]"""
    )
    package = Path(serving.__file__).parent
    code = "\n".join(path.read_text() for path in package.rglob("*.py"))
    found = {one or other for one, other in written.findall(code)}
    assert {"enrol", "identify", "expire", "unmerge", "sweep", "correct"} <= found
    assert found <= set(ACTIONS)
    Query(since="2026-01-01", until="2027-01-01", action="identify")
