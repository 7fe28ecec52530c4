"""Events as CloudEvents."""

from __future__ import annotations

from serving.events.event import TYPES, batches, event, sequence_of
from tests.support.events import made


def test_is_a_cloud_event_that_names_a_person_by_the_id_alone() -> None:
    found = made(7)
    assert found == {
        "specversion": "1.0",
        "id": found["id"],
        "source": "/collections/default",
        "type": "faces.person.enrolled",
        "subject": "7",
        "time": "1970-01-01T00:16:40.000Z",
        "datacontenttype": "application/json",
        "sequence": "00000000000000000007.00000000",
        "data": {"collection": "default", "id": 7},
    }


def test_the_same_has_the_same_id_and_others_have_others() -> None:
    assert made(7)["id"] == made(7)["id"] != made(8)["id"]
    ids = {
        event(kind, where, key=[1], time=0.0, sequence="", data={})["id"]
        for kind in TYPES
        for where in ("a", "b")
    }
    assert len(ids) == 2 * len(TYPES)


def test_sequences_are_in_the_order_of_versions() -> None:
    places = [(9, 0), (10, 0), (10, 2), (10, 11), (2**40, 0)]
    texts = [sequence_of(*place) for place in places]
    assert texts == sorted(texts)


def test_batches() -> None:
    events = [made(n) for n in range(5)]
    assert list(batches(iter(events), 2)) == [events[:2], events[2:4], events[4:]]
    assert list(batches(iter([]), 2)) == []
