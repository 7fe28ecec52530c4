"""The check of chains: objects that are missing, changed, moved or cut off show."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from serving.errors import GalleryCorrupt, GalleryTooNew
from serving.trail import reading
from serving.trail.chain import ChainReport, Head, decode
from tests.support.memory_store import MemoryStore
from tests.support.trails import MemoryTrails, looked_up


@pytest.fixture
def trails() -> MemoryTrails:
    made = MemoryTrails()
    made.write([looked_up()], [looked_up()], [looked_up()])
    return made


def report(trails: MemoryTrails, known: Head | None = None) -> ChainReport:
    chain = trails.keys[0].split("/")[3]
    (found,), _ = reading.check(trails.places, {} if known is None else {chain: known})
    return found


def test_a_whole_chain_has_no_problems(trails: MemoryTrails) -> None:
    found = report(trails)
    assert (found.first, found.records, found.lost, found.ended) == (1, 3, 0, True)
    assert found.head is not None
    assert (found.head.number, found.head.day) == (4, "2026-11-29")
    assert found.problems == []


def _rewrite(change: Callable[[bytes], bytes]) -> Callable[[MemoryStore, str], None]:
    def rewrite(store: MemoryStore, key: str) -> None:
        store.put(key, change(store.get(key).data))

    return rewrite


def _move(store: MemoryStore, key: str) -> None:
    data = store.get(key).data
    store.delete(key)
    store.put(key.replace("2026-11-29", "2026-11-28"), data)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (MemoryStore.delete, "objects 2 to 2 are missing"),
        (_rewrite(lambda d: d.replace(b'"gate"', b'"door"')), "object 2 was changed"),
        (_rewrite(lambda d: d[:-20]), "is damaged"),
        (_rewrite(lambda d: d[: d.index(b"\n") + 1]), "has 0 records and counts 1"),
        (_move, "object 2 was moved to another day"),
        (_rewrite(lambda d: d.replace(b'"number":2', b'"number":9')), "belongs elsewhere"),
        (_rewrite(lambda d: b"no JSON"), "cannot be read"),
    ],
)
def test_what_was_done_to_an_object_shows(
    trails: MemoryTrails, fault: Callable[[MemoryStore, str], None], said: str
) -> None:
    fault(trails.store, trails.keys[1])
    assert said in "; ".join(report(trails).problems)


def test_the_first_objects_are_missed(trails: MemoryTrails) -> None:
    trails.store.delete(trails.keys[0])
    assert report(trails).problems == ["objects 1 to 1 are missing"]


def test_a_chain_that_was_cut_off_has_no_end_and_lacks_what_was_noted(trails: MemoryTrails) -> None:
    head = report(trails).head
    trails.store.delete(trails.keys[-1])
    found = report(trails)
    assert (found.ended, found.problems) == (False, [])
    assert report(trails, head).problems == ["it ends with 3, and 4 was noted: it was cut off"]


def test_a_chain_that_is_gone_is_missed(trails: MemoryTrails) -> None:
    (before,), _ = reading.check(trails.places)
    assert before.head is not None
    for key in trails.keys:
        trails.store.delete(key)
    (found,), _ = reading.check(trails.places, {before.chain: before.head})
    assert found.problems == ["it ends with 0, and 4 was noted: it was cut off"]


def test_a_chain_that_was_written_anew_is_not_the_one_that_was_noted(trails: MemoryTrails) -> None:
    other = Head(2, "0" * 64, "2026-11-29")
    assert report(trails, other).problems == ["object 2 is not the one that was noted"]


def test_nothing_comes_after_the_end(trails: MemoryTrails) -> None:
    last = trails.keys[-1]
    trails.store.put(last.replace("00000004", "00000005"), trails.store.get(last).data)
    assert "object 5 comes after the end" in report(trails).problems


def test_an_object_of_a_newer_version_is_no_damage(trails: MemoryTrails) -> None:
    header, record = trails.store.get(trails.keys[0]).data.splitlines()
    newer = json.loads(header) | {"format": "faces-audit/2"}
    data = json.dumps(newer).encode() + b"\n" + record + b"\n"
    with pytest.raises(GalleryTooNew, match="upgrade this one"):
        decode("x", data)


def test_a_record_is_an_object_of_json(trails: MemoryTrails) -> None:
    header, _ = trails.store.get(trails.keys[0]).data.splitlines()
    with pytest.raises(GalleryCorrupt):
        decode("x", header + b"\n[]\n")
