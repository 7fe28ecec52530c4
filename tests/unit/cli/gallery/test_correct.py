"""`faces gallery photos`, `move`, `distinct`, `unmerge` and `undo`, on a bucket in memory."""

from __future__ import annotations

import json
from typing import Any

from serving.gallery import Kind, Operation
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, unit_rows
from tests.unit.cli.gallery.faces import Faces, gallery, people


def listed(faces: Faces, person: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(faces("photos", person, "--json"))
    return found


def test_photos_are_listed_and_one_is_moved(faces: Faces, store: MemoryStore) -> None:
    photos = listed(faces, 2)
    assert len(photos) == 3
    shown = faces("photos", 2)
    assert all(photo["id"] in shown for photo in photos)
    assert f"{photos[0]['similarity']:.3f}" in shown
    assert "version is 2" in faces("move", 2, 1, photos[0]["id"], photos[2]["id"])
    assert {i: p.photos for i, p in people(store).items()} == {1: 3, 2: 1, 3: 1}
    assert listed(faces, 2) == [{"id": photos[1]["id"], "similarity": None}]
    assert "may have been moved already" in faces.fails("move", 2, 1, photos[0]["id"])
    assert "id 9" in faces.fails("photos", 9)
    assert "already" in faces("move", 2, 2, photos[1]["id"], code=2)


def test_photos_of_somebody_else_become_a_new_person(faces: Faces, store: MemoryStore) -> None:
    row = unit_rows(1, DIMENSION, seed=9)
    gallery(store).commit([Operation(Kind.APPEND, 1, 2.0, row)])
    faces("move", 1, 77, listed(faces, 1)[1]["id"])
    assert people(store)[77].photos == people(store)[1].photos == 1
    faces.configure(match={"max_people": 4})
    assert "holds 4 people" in faces.fails("move", 2, 78, listed(faces, 2)[0]["id"])


def test_a_merge_and_a_move_are_undone(faces: Faces, store: MemoryStore) -> None:
    faces("merge", 1, 2, 3)
    assert "Version 2 is undone for 1, 3; the gallery's version is 3." in faces("unmerge", 1, 3)
    assert {i: p.photos for i, p in people(store).items()} == {1: 4, 3: 1}
    faces("unmerge", 1, 2)
    faces("move", 2, 3, listed(faces, 2)[0]["id"])
    assert "Version 5 is undone for 2, 3" in faces("undo", 3)
    assert {i: p.photos for i, p in people(store).items()} == {1: 1, 2: 3, 3: 1}
    faces("undo", 2)
    assert {i: p.photos for i, p in people(store).items()} == {1: 1, 2: 2, 3: 2}
    assert "Version 1 is in no version" in faces.fails("undo", 2, "--version", 1)


def test_people_are_noted_as_two_and_as_one_again(faces: Faces, store: MemoryStore) -> None:
    faces("distinct", 1, 2, 3, "--threshold", 0.875)
    assert people(store)[1].distinct == {2: 0.875, 3: 0.875}
    assert "distinct  2 below 0.88, 3 below 0.88" in faces("show", 1)
    faces("distinct", 3, 1, "--remove")
    assert people(store)[1].distinct == {2: 0.875}
    assert "not known to be two" in faces.fails("distinct", 3, 1, "--remove")
    assert "the same as himself" in faces("distinct", 1, 1, code=2)
    assert "--threshold or --remove" in faces(
        "distinct", 1, 2, "--threshold", 0, "--remove", code=2
    )
