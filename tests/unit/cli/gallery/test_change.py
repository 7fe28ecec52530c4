"""`faces gallery rename`, `describe`, `merge`, `delete` and `erase`, on a bucket in memory."""

from __future__ import annotations

import json

import pytest

from tests.support.memory_store import MemoryStore
from tests.support.names import SCRIPTS
from tests.support.people import MODEL, put
from tests.unit.cli.gallery.faces import OTHER, Faces, gallery, people


def test_a_person_is_renamed_and_described(faces: Faces, store: MemoryStore) -> None:
    assert "version is 2" in faces("rename", 2, "Bob")
    faces("describe", 2, '{"desk": "4ü"}')
    assert (people(store)[2].name, people(store)[2].metadata) == ("Bob", {"desk": "4ü"})
    assert '{"desk": "4ü"}' in faces("show", 2)
    faces("rename", 2, "")
    faces("describe", 2, "null")
    assert (people(store)[2].name, people(store)[2].metadata) == (None, {})
    assert "no JSON" in faces("describe", 2, "{", code=2)
    assert "object or null" in faces("describe", 2, "[1]", code=2)
    assert "id 9" in faces.fails("rename", 9, "Nobody")


@pytest.mark.parametrize("name", SCRIPTS.values(), ids=list(SCRIPTS))
def test_a_name_of_any_script_is_stored_as_given(
    faces: Faces, store: MemoryStore, name: str
) -> None:
    faces("rename", 2, name)
    assert people(store)[2].name == name


def test_what_no_request_could_store_is_refused(faces: Faces, store: MemoryStore) -> None:
    assert "no control characters" in faces("rename", 2, "Bob\x1b[2J", code=2)
    assert "can be seen" in faces("rename", 2, " ", code=2)
    assert "direction" in faces("rename", 2, "Bob\u202e", code=2)
    assert "4096 bytes" in faces("describe", 2, json.dumps({"t": "x" * 4096}), code=2)
    assert "desk is given twice" in faces("describe", 2, '{"desk": 1, "desk": 2}', code=2)
    assert "no JSON" in faces("describe", 2, '{"desk": NaN}', code=2)
    assert people(store)[2].metadata == {}


def test_records_of_one_person_become_one(faces: Faces, store: MemoryStore) -> None:
    faces("merge", 1, 2, 3)
    assert [(p.id, p.photos, p.name) for p in people(store).values()] == [(1, 5, "Ada")]
    assert "into himself" in faces("merge", 1, 1, code=2)
    assert "id 2" in faces.fails("merge", 1, 2)


def test_people_are_deleted_together_or_not_at_all(faces: Faces, store: MemoryStore) -> None:
    assert "id 9" in faces.fails("delete", 1, 9)
    assert list(people(store)) == [1, 2, 3]
    faces("delete", 1, 3)
    assert list(people(store)) == [2]


def test_everybody_is_forgotten_only_when_that_is_meant(faces: Faces, store: MemoryStore) -> None:
    assert "Give ids, or --all" in faces("delete", code=2)
    assert "Give ids, or --all" in faces("delete", 1, "--all", code=2)
    assert "all 3 people" in faces("delete", "--all", code=1, typed="n\n")
    assert len(people(store)) == 3
    faces("delete", "--all", "--yes")
    assert people(store) == {}


def test_an_erasure_asks_and_gives_a_receipt(faces: Faces, store: MemoryStore) -> None:
    gallery(store, OTHER).commit([put(2)])
    faces("erase", 2, code=1, typed="n\n")
    assert 2 in people(store)
    receipts = json.loads(faces("erase", 2, "--yes"))
    assert {(r["model"], r["embeddings"]) for r in receipts} == {(MODEL, 3), (OTHER, 1)}
    assert list(people(store)) == [1, 3]
