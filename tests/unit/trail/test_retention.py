"""Retention: whole days go, with the ids of their pseudonyms, and no gap shows."""

from __future__ import annotations

from serving.trail import people, reading
from serving.trail.reading import Query
from serving.trail.retention import Removed, expire
from tests.support.trails import DAY_S, NOON, MemoryTrails, looked_up


def three_days() -> MemoryTrails:
    """One chain over three days."""
    trails = MemoryTrails()
    trail = trails.start()
    for n in range(3):
        trails.now = NOON + n * DAY_S
        trail.add(looked_up(7 + 3 * n, ended=f"2026-11-{29 + n}"))
        assert trail.flush(10)
    trail.close(10)
    return trails


def test_removes_old_days_and_no_gap_shows() -> None:
    trails = three_days()
    trails.now = NOON + 3 * DAY_S  # 2026-12-02
    assert expire(trails.places, 1, clock=lambda: trails.now) == Removed("2026-11-30", 1, 2)
    assert len(list(reading.search(trails.places, Query()))) == 2
    (report,), expired = reading.check(trails.places)
    assert (report.first, report.problems, expired) == (2, [], "2026-11-30")
    assert not [key for key in trails.store.objects if "2026-11-29" in key]


def test_a_day_that_went_without_retention_is_a_gap() -> None:
    trails = three_days()
    trails.store.delete(trails.keys[0])
    (report,), _ = reading.check(trails.places)
    assert report.problems == ["objects 1 to 1 are missing"]


def test_a_gap_after_the_retention_shows() -> None:
    trails = three_days()
    expire(trails.places, 1, clock=lambda: NOON + 3 * DAY_S)
    trails.store.delete(trails.keys[0])
    (report,), _ = reading.check(trails.places)
    assert report.problems == ["objects 1 to 2 are missing"]


def test_a_chain_that_is_wholly_gone_by_retention_is_not_missed() -> None:
    trails = MemoryTrails()
    trails.write([looked_up()])
    (report,), _ = reading.check(trails.places)
    assert report.head is not None
    expire(trails.places, 1, clock=lambda: NOON + 9 * DAY_S)
    (gone,), _ = reading.check(trails.places, {report.chain: report.head})
    assert gone.problems == []


def test_says_what_it_would_remove() -> None:
    trails = three_days()
    before = dict(trails.store.objects)
    removed = expire(trails.places, 1, dry_run=True, clock=lambda: NOON + 3 * DAY_S)
    assert removed == Removed("2026-11-30", 1, 2)
    assert trails.store.objects == before


def test_without_a_retention_nothing_is_old() -> None:
    trails = three_days()
    assert expire(trails.places, None, clock=lambda: NOON + 999 * DAY_S) == Removed(None, 0, 0)
    assert len(trails.keys) == 4


def test_a_longer_retention_than_before_keeps_what_was_removed_known() -> None:
    trails = three_days()
    expire(trails.places, 1, clock=lambda: NOON + 3 * DAY_S)
    expire(trails.places, 99, clock=lambda: NOON + 3 * DAY_S)
    (report,), expired = reading.check(trails.places)
    assert (report.problems, expired) == ([], "2026-11-30")


def test_ids_that_came_after_an_erasure_go_and_then_the_mark_of_it() -> None:
    trails = MemoryTrails()
    trail = trails.start()
    trail.add(looked_up(7))
    people.forget(trails.places, "default", 7)
    trails.now += 60
    trail.close(10)
    assert expire(trails.places, None, clock=lambda: trails.now) == Removed(None, 0, 1)
    left = [key for key in trails.store.objects if "/people/" in key or "/erased/" in key]
    assert [key.split("/")[1:4] for key in sorted(left)] == [
        ["erased", "default", "7"],
        ["people", "default", "8"],
    ]
    expire(trails.places, None, clock=lambda: trails.now + 2 * DAY_S)
    assert not [key for key in trails.store.objects if "/erased/" in key]
