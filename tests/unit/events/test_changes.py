"""What segments say of people."""

from __future__ import annotations

from typing import Any

from serving.events.changes import BULK_ABOVE, changes, deleted_in, events_of
from serving.gallery.segment import Kind, Operation, Segment
from tests.support.people import DIMENSION, LOCATION, put, unit_rows


def found(*operations: Operation) -> list[tuple[str, int | None, dict[str, Any]]]:
    return [(c.kind, c.person, c.data) for c in changes(Segment.of(operations, DIMENSION))]


def append(person: int) -> Operation:
    return Operation(Kind.APPEND, person, 100.0, unit_rows(2, DIMENSION))


def distinct(threshold: float | None) -> Operation:
    return Operation(Kind.DISTINCT, 1, 100.0, sources=[2], details={"threshold": threshold})


def test_each_kind_of_operation() -> None:
    assert found(put(1), append(2)) == [
        ("enrolled", 1, {"mode": "replace", "photos": 1}),
        ("enrolled", 2, {"mode": "append", "photos": 2}),
    ]
    describe = Operation(Kind.DESCRIBE, 1, 100.0, details={"name": "Ada"})
    assert found(describe) == [("changed", 1, {"change": "details"})]
    assert found(Operation(Kind.DELETE, 1, 100.0)) == [("deleted", 1, {})]
    assert found(Operation(Kind.MERGE, 1, 100.0, sources=[2, 1, 2])) == [
        ("changed", 1, {"change": "merged", "from": [2]}),
        ("deleted", 2, {"change": "merged", "to": [1]}),
    ]
    assert found(distinct(0.5)) == [("changed", 1, {"change": "distinct", "other": 2})]
    assert found(distinct(None)) == [("changed", 1, {"change": "same", "other": 2})]
    assert found(Operation(Kind.CLEAR, 0, 100.0)) == [("deleted", None, {"everybody": True})]


def test_a_correction_is_a_change_of_all_whom_it_concerns() -> None:
    split = Operation(Kind.SPLIT, 1, 100.0, sources=[2, 3])
    corrected = {"change": "corrected", "photos": 1}
    assert found(split, put(1), put(2), put(3)) == [
        ("changed", 1, corrected),
        ("enrolled", 2, corrected),
        ("enrolled", 3, corrected),
    ]
    assert found(split, append(2)) == [
        ("deleted", 1, {"change": "corrected", "to": [2, 3]}),
        ("changed", 2, {"change": "corrected", "photos": 2}),
    ]


def test_an_import_is_one_event_but_deletions_are_told() -> None:
    many = [put(n) for n in range(BULK_ABOVE + 1)]
    assert found(*many, Operation(Kind.DELETE, 7, 100.0)) == [
        ("bulk", None, {"people": BULK_ABOVE + 1}),
        ("deleted", 7, {}),
    ]
    assert len(found(*many[1:])) == BULK_ABOVE


def test_events_have_the_version_and_nothing_of_the_details() -> None:
    segment = Segment.of([put(1, name="Ada"), Operation(Kind.DELETE, 2, 100.0)], DIMENSION)
    events = list(events_of(segment, 17, LOCATION))
    assert [e["sequence"] for e in events] == sorted(e["sequence"] for e in events)
    assert events[0]["data"] == {
        "collection": "default",
        "id": 1,
        "gallery_version": 17,
        "model": LOCATION.model,
        "mode": "replace",
        "photos": 1,
    }
    assert "Ada" not in str(events)
    assert deleted_in(segment) == {2: 100.0}


def test_the_id_of_an_event_is_the_same_when_others_are_erased_from_the_segment() -> None:
    both = Segment.of([put(1), put(2)], DIMENSION)
    alone = Segment.of([put(2)], DIMENSION)
    (_, before), (after,) = (list(events_of(s, 5, LOCATION)) for s in (both, alone))
    assert before["id"] == after["id"]
