"""Objects of the audit: batches, a store that is away, a lost reply, the end of a chain."""

from __future__ import annotations

import threading

import pytest

from serving.errors import Unavailable
from serving.trail import reading
from serving.trail.chain import decode
from serving.trail.reading import Query
from serving.trail.writer import Trail
from tests.support.trails import MemoryTrails, looked_up, wait_until


@pytest.fixture
def trails() -> MemoryTrails:
    return MemoryTrails()


def away(request: str, key: str) -> None:
    raise Unavailable("The store is away.")


def has_room(trail: Trail) -> bool:
    try:
        trail.require_room()
    except Unavailable:
        return False
    return True


def test_records_of_a_flush_are_one_object_and_the_chain_has_an_end(trails: MemoryTrails) -> None:
    chain = trails.write([looked_up(), looked_up(8)], [looked_up(None)])
    assert [key.split("/")[2:] for key in trails.keys] == [
        ["2026-11-29", chain, f"{n:08d}.jsonl"] for n in (1, 2, 3)
    ]
    headers = [decode(key, trails.store.objects[key].data)[0] for key in trails.keys]
    assert [(h.number, h.records, h.ended) for h in headers] == [
        (1, 2, False),
        (2, 1, False),
        (3, 0, True),
    ]
    assert trails.watched.records == {"written": 3, "lost": 0}


def test_the_name_of_a_chain_has_the_replica_and_the_start(trails: MemoryTrails) -> None:
    chain = trails.write([looked_up()], replica="faces#ingress#ab/1")
    assert chain.startswith("faces-ingress-ab-1-20261129T120000Z-")


def test_a_chain_without_records_writes_nothing(trails: MemoryTrails) -> None:
    trails.start().close(10)
    assert trails.store.objects == {}


def test_records_are_written_by_themselves_after_a_while(trails: MemoryTrails) -> None:
    trail = trails.start(flush_s=0.05)
    trail.add(looked_up())
    wait_until(lambda: trails.watched.records["written"] == 1)
    trail.close(10)


def test_objects_have_no_ids_of_people(trails: MemoryTrails) -> None:
    trails.write([looked_up(4711, ids=[4711])])
    data = b"".join(trails.store.objects[key].data for key in trails.keys)
    assert b"4711" not in data
    (record,) = reading.search(trails.places, Query())
    assert record == looked_up(4711)


@pytest.mark.parametrize("replied", [True, False], ids=["lost-request", "lost-reply"])
def test_a_put_that_failed_is_tried_again_with_the_same_bytes(
    trails: MemoryTrails, replied: bool
) -> None:
    failures = [Unavailable("The store is away.")]

    def once(request: str, key: str) -> None:
        if request == "put" and "/records/" in key and failures:
            raise failures.pop()

    setattr(trails.store, "before" if replied else "after", once)
    trails.write([looked_up()], [looked_up()])
    reports, _ = reading.check(trails.places)
    (report,) = reports
    assert (report.problems, report.records, report.lost, report.ended) == ([], 2, 0, True)
    assert trails.watched.records == {"written": 2, "lost": 0}


def test_a_store_that_is_away_stops_nobody_until_the_memory_is_full(
    trails: MemoryTrails,
) -> None:
    trails.store.before = away
    trail = trails.start(buffer_bytes=2**16, flush_s=0.01)
    added = 0
    while has_room(trail):
        trail.add(looked_up())
        added += 1
    # About 2,300 bytes each.
    assert 25 < added < 35
    trail.add(looked_up())  # one that was let in before is kept
    trail.add(looked_up(), was_let_in=False)
    wait_until(lambda: trails.watched.problem)
    trails.store.before = lambda request, key: None
    assert trail.flush(10)
    trail.require_room()
    trail.close(10)
    reports, _ = reading.check(trails.places)
    assert (reports[0].records, reports[0].lost, reports[0].problems) == (added + 1, 1, [])
    assert trails.watched.records == {"written": added + 1, "lost": 1}
    assert not trails.watched.problem


def test_records_may_be_lost_by_a_setting_and_are_counted(
    trails: MemoryTrails,
) -> None:
    trails.store.before = away
    trail = trails.start(buffer_bytes=2**16, when_full="lose")
    for _ in range(1000):
        trail.require_room()
        trail.add(looked_up())
    trails.store.before = lambda request, key: None
    assert trail.flush(10)
    trail.close(10)
    (report,), _ = reading.check(trails.places)
    assert report.records + report.lost == 1000
    assert report.lost > 900
    assert trails.watched.records == {"written": report.records, "lost": report.lost}


def test_what_cannot_be_written_until_the_end_is_counted_as_lost(trails: MemoryTrails) -> None:
    trails.store.before = away
    trail = trails.start()
    trail.add(looked_up())
    trail.close(0.1)
    assert trails.watched.records == {"written": 0, "lost": 1}
    trails.store.before = lambda request, key: None  # the thread ends


def test_a_large_number_of_records_becomes_several_objects(trails: MemoryTrails) -> None:
    trails.write([looked_up() for _ in range(3000)])
    assert len(trails.keys) > 2
    assert all(len(trails.store.objects[key].data) < 2**21 for key in trails.keys)
    assert len(list(reading.search(trails.places, Query()))) == 3000


def test_a_lock_is_for_the_retention(trails: MemoryTrails) -> None:
    trails.write([looked_up()], lock="governance", retention_days=30, bucket="locked")
    assert list(trails.store.locked) == trails.keys
    for mode, until in trails.store.locked.values():
        assert mode == "GOVERNANCE"
        assert until.isoformat() == "2026-12-29T12:00:00+00:00"


def test_an_id_is_written_once_a_day_before_its_record(trails: MemoryTrails) -> None:
    trail = trails.start()
    for _ in range(2):
        trail.add(looked_up())
        assert trail.flush(10)
    puts = [key for request, key in trails.store.requests if request == "put"]
    assert ["/people/" in key for key in puts] == [True, True, False, False]
    trails.now += 86_400
    trail.add(looked_up())
    trail.close(10)
    assert len([k for k in trails.store.objects if "/people/default/7/" in k]) == 2


def test_an_erasure_reaches_what_was_still_in_memory(trails: MemoryTrails) -> None:
    trail = trails.start()
    trail.add(looked_up())
    assert trail.forget("default", 7) == 1
    trail.add(looked_up())  # by a matcher that has not heard of it
    trail.close(10)
    for record in reading.search(trails.places, Query()):
        assert record["ids"][0].startswith("p-")
        assert record["answers"][0]["faces"][0]["candidates"][1]["id"] == 8


def test_an_erasure_fails_while_records_cannot_be_written(
    trails: MemoryTrails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.trail.writer._FLUSH_S", 0.05)
    trails.store.before = away
    trail = trails.start()
    trail.add(looked_up())
    with pytest.raises(Unavailable):
        trail.forget("default", 7)
    trails.store.before = lambda request, key: None
    trail.close(10)


def test_many_threads_lose_nothing(trails: MemoryTrails) -> None:
    trail = trails.start(flush_s=0.001)

    def add() -> None:
        for _ in range(200):
            trail.add(looked_up())

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trail.close(10)
    (report,), _ = reading.check(trails.places)
    assert (report.records, report.problems, report.ended) == (800, [], True)


def test_an_error_of_any_kind_does_not_end_the_thread(
    trails: MemoryTrails, caplog: pytest.LogCaptureFixture
) -> None:
    bugs = [RuntimeError("a bug")]

    def once(request: str, key: str) -> None:
        if bugs:
            raise bugs.pop()

    trails.store.before = once
    trails.write([looked_up()])
    assert trails.watched.records == {"written": 1, "lost": 0}
    assert "a bug" in caplog.text


def test_a_record_of_any_kind_can_be_written(trails: MemoryTrails) -> None:
    trails.write([looked_up(odd=b"bytes")])
    (record,) = reading.search(trails.places, Query())
    assert record["odd"] == "b'bytes'"
