"""Pages of the audit: newest first, all of it, in bounded time; and the check of the chains."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from serving import deadline
from serving.errors import BadRequest, Overloaded, TimedOut
from serving.trail import paging, people
from serving.trail.paging import Page, Reader
from serving.trail.reading import Query
from tests.support.trails import DAY_S, NOON, PREFIX, MemoryTrails, looked_up

TODAY = "2026-12-01"
SINCE = "2026-11-24T00:00:00"


@pytest.fixture
def trails() -> MemoryTrails:
    """Records a to f of three days, by two replicas; c is of another collection."""
    made = MemoryTrails()
    made.write(
        [looked_up(7, request_id="a", ended="2026-11-29T11:00:00.000Z")],
        [looked_up(None, request_id="b", ended="2026-11-29T12:00:00.500Z", key="desk")],
        replica="one",
    )
    made.now = NOON + DAY_S
    made.write(
        [
            looked_up(7, request_id="c", collection="shop", ended="2026-11-30T10:00:00.000Z"),
            looked_up(7, request_id="d", ended="2026-11-30T10:30:00.000Z"),
            looked_up(10, request_id="e", ended="2026-11-30T10:31:00.000Z", action="verify"),
        ],
        replica="two",
    )
    made.now = NOON + 2 * DAY_S
    made.write([looked_up(12, request_id="f", ended="2026-12-01T10:00:00.000Z")], replica="one")
    return made


def page(
    trails: MemoryTrails,
    *,
    limit: int = 100,
    cursor: str | None = None,
    since: str = SINCE,
    **query: Any,
) -> Page:
    of = Query(**{"collection": "default", "since": since, **query})
    return paging.search(trails.places, of, limit=limit, cursor=cursor, today=TODAY)


def ids(found: Page) -> str:
    return "".join(record["request_id"] for record in found.records)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, "fedba"),
        ({"since": "2026-11-30T00:00:00"}, "fed"),
        ({"since": "2026-11-29T12:00:00"}, "fedb"),  # half a second later
        ({"until": "2026-11-30T10:31:00"}, "dba"),
        ({"collection": "shop"}, "c"),
        ({"collection": "nowhere"}, ""),
        ({"person": 7}, "da"),
        ({"person": 8}, "fedba"),
        ({"person": 11}, ""),
        ({"key": "desk"}, "b"),
        ({"action": "verify"}, "e"),
        ({"request_id": "f"}, "f"),
    ],
)
def test_finds_what_matches_newest_first(
    trails: MemoryTrails, query: dict[str, Any], found: str
) -> None:
    got = page(trails, **query)
    assert (ids(got), got.next, got.problems) == (found, None, [])


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_pages_hold_each_record_once_also_while_others_are_written(
    trails: MemoryTrails, limit: int
) -> None:
    got = page(trails, limit=limit)
    found = ids(got)
    while got.next is not None:
        trails.write([looked_up(9, request_id="new", ended="2026-12-01T12:00:00.000Z")])
        got = page(trails, limit=limit, cursor=got.next)
        found += ids(got)
    assert found == "fedba"


def test_people_are_named_by_their_ids_and_the_erased_by_a_pseudonym(trails: MemoryTrails) -> None:
    people.forget(trails.places, "default", 7)
    got = page(trails)
    named = [record["ids"][0] for record in got.records if record["ids"]]
    assert (named[0], named[1]) == (12, 10)
    assert all(str(name).startswith("p-") for name in named[2:])
    assert ids(page(trails, person=7)) == ""


def test_a_person_is_looked_for_only_on_the_days_that_know_the_person(
    trails: MemoryTrails,
) -> None:
    trails.store.requests.clear()
    assert ids(page(trails, person=10)) == "e"
    read = [key for request, key in trails.store.requests if request == "get"]
    assert [key for key in read if "/records/" in key]
    assert not [key for key in read if "/records/" in key and "/2026-11-30/" not in key]


def test_a_page_ends_when_it_has_read_enough_and_the_next_one_goes_on(
    trails: MemoryTrails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "_MOST_OBJECTS", 1)
    got, found, pages = page(trails, key="desk"), "", 1
    found += ids(got)
    while got.next is not None:
        got = page(trails, key="desk", cursor=got.next)
        found, pages = found + ids(got), pages + 1
        assert pages < 50
    assert found == "b"


def test_time_that_is_up_ends_a_page_behind_a_whole_day(
    trails: MemoryTrails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "_PAGE_S", -1.0)
    got, found, pages = page(trails), "", 1
    found += ids(got)
    while got.next is not None:
        got = page(trails, cursor=got.next)
        found, pages = found + ids(got), pages + 1
        assert pages < 50
    assert found == "fedba"
    assert pages > 3


@pytest.mark.parametrize(
    "cursor",
    ["x", "2026-11-30", "2026-11-30.1.1.a", "2026-11-30.1.1./.1", "٢٠٢٦-11-30.1.1.a.1", "1" * 400],
)
def test_a_cursor_that_is_none_is_refused(trails: MemoryTrails, cursor: str) -> None:
    with pytest.raises(BadRequest, match="cursor"):
        page(trails, cursor=cursor)


@pytest.mark.parametrize("cursor", ["9999-99-99.1.1.a.1", "0000-00-00.1.1.a.1"])
def test_a_cursor_of_no_day_finds_what_is_older(trails: MemoryTrails, cursor: str) -> None:
    assert ids(page(trails, cursor=cursor)) in ("", "fedba")


def test_a_damaged_object_is_a_problem_and_hides_no_other(trails: MemoryTrails) -> None:
    damaged = trails.keys[-3]  # of 2026-11-30
    trails.store.put(damaged, b"?")
    got = page(trails)
    assert set("fba") <= set(ids(got))
    (problem,) = got.problems
    assert damaged in problem


def test_what_retention_removed_is_not_asked_for(trails: MemoryTrails) -> None:
    trails.store.put(trails.places.expired, b'{"before": "2026-11-30"}')
    trails.store.requests.clear()
    got = page(trails)
    assert (ids(got), got.expired_before) == ("fed", "2026-11-30")
    listed = [key for request, key in trails.store.requests if request == "list"]
    assert not [key for key in listed if "/2026-11-29/" in key]


def test_a_search_stops_with_its_request(trails: MemoryTrails) -> None:
    with deadline.until(time.monotonic() - 1), pytest.raises(TimedOut):
        page(trails)


def chains(trails: MemoryTrails, days: int = 7, after: str | None = None) -> paging.Chains:
    return paging.check(trails.places, days=days, after=after, today=TODAY)


def test_chains_of_the_last_days_are_whole(trails: MemoryTrails) -> None:
    got = chains(trails)
    assert [report.records for report in got.reports] == [2, 1, 3]
    assert [report.problems for report in got.reports] == [[], [], []]
    assert got.next is None


def test_a_chain_that_began_before_these_days_is_checked_from_there_on() -> None:
    trails = MemoryTrails()
    trail = trails.start()
    for _ in range(4):
        trail.add(looked_up())
        assert trail.flush(10)
        trails.now += DAY_S
    trail.close(10)
    (report,) = chains(trails, days=2).reports
    assert (report.first, report.problems) == (2, [])
    # On the first of these days, too, a gap shows.
    trails.store.delete(next(k for k in trails.keys if "00000002" in k))
    (report,) = chains(trails, days=2).reports
    assert report.problems


def test_a_change_shows(trails: MemoryTrails) -> None:
    key = next(k for k in trails.keys if "/2026-11-29/" in k)
    data = trails.store.get(key).data
    trails.store.put(key, data.replace(b'"gate"', b'"desk"'))
    problems = [problem for report in chains(trails).reports for problem in report.problems]
    assert len(problems) == 1
    assert "was changed" in problems[0]


def test_pages_of_chains_hold_each_once(
    trails: MemoryTrails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "_PAGE_S", -1.0)
    names, after = list[str](), None
    for _ in range(10):
        got = chains(trails, after=after)
        names += [report.chain for report in got.reports]
        after = got.next
        if after is None:
            break
    assert len(names) == 3
    assert names == sorted(set(names))


def test_two_readers_at_once_and_no_more(trails: MemoryTrails) -> None:
    inside, go = threading.Semaphore(0), threading.Event()

    def connect() -> Any:
        inside.release()
        assert go.wait(10)
        return trails.places

    reader = Reader(connect)
    query = Query(collection="default", since=SINCE)
    threads = [
        threading.Thread(target=lambda: reader.search(query, limit=1, cursor=None))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert inside.acquire(timeout=10)
    until = time.monotonic() + 10
    while reader._free._value and time.monotonic() < until:
        time.sleep(0.005)
    with pytest.raises(Overloaded):
        reader.check(days=1, after=None)
    go.set()
    for thread in threads:
        thread.join(10)
    assert reader.search(query, limit=1, cursor=None).records is not None


def test_only_the_audits_prefix_is_read(trails: MemoryTrails) -> None:
    trails.store.requests.clear()
    page(trails, person=7)
    chains(trails)
    assert all(key.startswith(f"{PREFIX}/") for _, key in trails.store.requests)
