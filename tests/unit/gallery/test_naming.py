"""Finding people by their name in the details of everybody."""

from __future__ import annotations

import json

import pytest

from serving.gallery import Gallery, Kind, Operation, naming
from tests.support.galleries import open_gallery
from tests.support.memory_store import MemoryStore
from tests.support.people import DIMENSION, put, unit_rows
from tests.support.timing import processor_seconds


@pytest.fixture
def gallery() -> Gallery:
    return open_gallery(MemoryStore())


def ids(gallery: Gallery, name: str) -> list[int]:
    return [person.id for person in gallery.refresh().named(name)]


def test_everybody_with_exactly_this_name_is_found(gallery: Gallery) -> None:
    names = {3: "Ada", 1: "Ada", 2: "Ada L", 4: "ada", 5: "Zoë", 6: 'A "b" \\', 7: ""}
    gallery.commit([put(person, name=name) for person, name in names.items()])
    assert ids(gallery, "Ada") == [1, 3]
    assert ids(gallery, "Zoë") == [5]
    assert ids(gallery, 'A "b" \\') == [6]
    assert ids(gallery, "Ad") == []


def test_whoever_is_renamed_or_gone_has_the_name_no_more(gallery: Gallery) -> None:
    gallery.commit([put(1, name="Ada"), put(2, name="Ada"), put(3, name="Ada")])
    gallery.commit([Operation(Kind.DESCRIBE, 1, 5.0, details={"name": "Eve"})])
    gallery.commit([Operation(Kind.DELETE, 2, 5.0)])
    assert ids(gallery, "Ada") == [3]
    assert ids(gallery, "Eve") == [1]


def test_beside_people_without_details(gallery: Gallery) -> None:
    gallery.commit([put(1), put(2), put(3, name="Ada"), put(4), put(5, name="Ada"), put(6)])
    assert ids(gallery, "Ada") == [3, 5]
    gallery.commit([Operation(Kind.CLEAR, 0, 5.0), put(7)])
    assert ids(gallery, "Ada") == []


def test_a_word_of_the_metadata_is_no_name(gallery: Gallery) -> None:
    rows = unit_rows(1, DIMENSION, seed=1)
    details = {"name": "Eve", "metadata": {"name": "Ada", "of": "Ada"}}
    gallery.commit([Operation(Kind.PUT, 1, 5.0, rows, details=details)])
    assert ids(gallery, "Ada") == []
    assert ids(gallery, "Eve") == [1]


def test_names_that_lie_across_the_pieces_are_found(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "_PIECE", 7)
    gallery.commit([put(person, name=f"person {person}") for person in range(40)])
    assert [ids(gallery, f"person {n}") for n in range(40)] == [[n] for n in range(40)]


def test_a_free_id_is_past_all_that_are_known(gallery: Gallery) -> None:
    assert gallery.refresh().free_id() == 0
    gallery.commit([put(7), put(9)])
    assert gallery.refresh().free_id() == 10
    assert gallery.refresh().free_id(above=20) == 21
    gallery.commit([put(2**63 - 1), put(0), put(1)])
    assert gallery.refresh().free_id() == 2


def test_a_name_that_everybody_has_in_the_metadata_takes_no_longer(gallery: Gallery) -> None:
    """Once it took the square of their number."""
    rows = unit_rows(3000, DIMENSION, seed=1)
    metadata = {"name": "desk", "desk": "name"}
    gallery.commit(
        [
            Operation(Kind.PUT, n, 5.0, rows[n : n + 1], details={"metadata": metadata})
            for n in range(3000)
        ]
    )
    gallery.commit([put(9000, name="desk")])
    with processor_seconds(1):
        assert ids(gallery, "desk") == [9000]


def test_names_are_stored_as_this_searches_them() -> None:
    assert json.dumps({"name": "Zoë"}) == '{"name": "Zo\\u00eb"}'
