"""Enrolled photos one by one: pages of them, removing them, comparing with one."""

from __future__ import annotations

import numpy as np
import pytest

from serving.errors import NotUndoable, RetentionEnded, UnknownIdentity, UnknownPhoto
from serving.gallery import Gallery, Kind, Operation
from serving.gallery.records import photo_id
from serving.matching import faces
from serving.matching.corrections import Undo, undo
from serving.matching.faces import Removal
from tests.support.galleries import open_gallery
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, put, unit_rows


@pytest.fixture
def gallery() -> Gallery:
    made = open_gallery(MemoryStore())
    made.commit([put(7, 3, name="Ada"), put(2, 2), put(9, 1, name="Eve"), put(8, 1, name="Ada")])
    return made


def ids(person: int, photos: int) -> list[str]:
    rows = unit_rows(photos, DIMENSION, seed=person).astype(np.float16)
    return [photo_id(row.tobytes()) for row in rows]


ALL = [
    *((2, "id:2", photo) for photo in ids(2, 2)),
    *((7, "Ada", photo) for photo in ids(7, 3)),
    (8, "Ada", *ids(8, 1)),
    (9, "Eve", *ids(9, 1)),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 20])
def test_pages_have_every_photo_once(gallery: Gallery, size: int) -> None:
    pages = [faces.page(gallery, None, first, size) for first in range(0, 8, size)]
    assert {page.total for page in pages} == {7}
    assert [(f.person, f.subject, f.photo) for page in pages for f in page.faces] == ALL
    assert max(len(page.faces) for page in pages) <= size


def test_of_a_subject_its_own_photos(gallery: Gallery) -> None:
    page = faces.page(gallery, "Ada", 1, 3)
    assert page.total == 4
    assert [(f.person, f.subject, f.photo) for f in page.faces] == ALL[3:6]
    assert faces.page(gallery, "id:2", 0, 9).total == 2
    assert faces.page(gallery, "nobody", 0, 9) == faces.FacesPage((), 0)
    assert faces.page(gallery, None, 700, 9) == faces.FacesPage((), 7)


def test_a_photo_goes_and_the_person_with_the_last(gallery: Gallery) -> None:
    first, *others = ids(7, 3)
    faces.remove(gallery, Removal(7, [first]))
    assert [f.photo for f in faces.page(gallery, None, 2, 2).faces] == others
    person = gallery.refresh().get(7)
    assert person is not None
    assert (person.name, person.photos) == ("Ada", 2)
    faces.remove(gallery, Removal(7, others))
    assert gallery.refresh().get(7) is None
    with pytest.raises(NotUndoable):  # photos that were removed stay so
        undo(gallery, Undo(7), 100)
    with pytest.raises(UnknownIdentity):
        faces.remove(gallery, Removal(7, others))
    with pytest.raises(UnknownPhoto):
        faces.remove(gallery, Removal(2, [first]))


def test_of_equal_photos_one_goes(gallery: Gallery) -> None:
    rows = unit_rows(2, DIMENSION, seed=2)
    gallery.commit([Operation(Kind.APPEND, 2, 5.0, rows)])
    faces.remove(gallery, Removal(2, ids(2, 1)))
    assert [f.photo for f in faces.page(gallery, "id:2", 0, 9).faces] == [
        ids(2, 2)[1],
        *ids(2, 2),
    ]


def test_nothing_is_removed_of_whose_retention_has_ended(gallery: Gallery) -> None:
    ended = {"expires_at": "1971-01-01T00:00:00Z"}
    gallery.commit([Operation(Kind.DESCRIBE, 9, 5.0, details=ended)])
    with pytest.raises(RetentionEnded):
        faces.remove(gallery, Removal(9, ids(9, 1)))


def test_faces_are_compared_with_one_photo(gallery: Gallery) -> None:
    rows = unit_rows(3, DIMENSION, seed=7)
    alike = faces.alike(gallery, 7, ids(7, 3)[1], rows)
    assert np.allclose(alike.similarities, rows @ rows[1], atol=1e-3)
    for person, photo in ((7, ids(2, 1)[0]), (70, ids(7, 1)[0])):
        with pytest.raises(UnknownPhoto):
            faces.alike(gallery, person, photo, rows)
