from __future__ import annotations

from dataclasses import replace

import pytest

from serving.errors import CollectionFull, RetentionEnded, UnknownIdentity, UnknownPair
from serving.gallery import Gallery, Kind, Operation
from serving.matching.corrections import Move, Tell, Undo, Undone, move, photos, tell, undo
from tests.support.galleries import open_gallery
from tests.support.memory_store import MemoryStore
from tests.support.people import put

MOST = 100


@pytest.fixture
def gallery() -> Gallery:
    gallery = open_gallery(MemoryStore())
    gallery.commit([put(1, photos=3), put(2)])
    gallery.refresh()
    return gallery


def one_of(gallery: Gallery, person: int) -> list[str]:
    return [photos(gallery, person).photos[0].id]


def counts(gallery: Gallery) -> dict[int, int]:
    return {p.id: p.photos for p in gallery.refresh().list(9)}


def test_the_photos_of_a_person_are_listed(gallery: Gallery) -> None:
    found = photos(gallery, 1)
    assert (len(found.photos), found.gallery_version) == (3, 1)
    with pytest.raises(UnknownIdentity, match="under the id 3"):
        photos(gallery, 3)


def test_a_photo_is_moved(gallery: Gallery) -> None:
    assert move(gallery, Move(1, 2, one_of(gallery, 1)), MOST) == 2
    assert counts(gallery) == {1: 2, 2: 2}


def test_somebody_new_counts(gallery: Gallery) -> None:
    with pytest.raises(CollectionFull):
        move(gallery, Move(1, 3, one_of(gallery, 1)), 2)
    move(gallery, Move(1, 2, one_of(gallery, 1)), 2)
    assert counts(gallery) == {1: 2, 2: 2}


@pytest.mark.parametrize("ended", [1, 2])
def test_a_record_whose_retention_has_ended_is_left_alone(gallery: Gallery, ended: int) -> None:
    over = {"expires_at": "1970-01-01T00:20:00Z"}
    gallery.commit([replace(put(ended, photos=3), details=over)])
    with pytest.raises(RetentionEnded, match=f"retention of {ended} ended"):
        move(gallery, Move(1, 2, one_of(gallery, 1)), MOST)
    assert gallery.refresh().version == 2


def merged(gallery: Gallery) -> None:
    gallery.commit([Operation(Kind.MERGE, 1, 5.0, sources=(2,))])


def test_a_merge_is_undone(gallery: Gallery) -> None:
    merged(gallery)
    assert undo(gallery, Undo(1, merges=True, sources=[2]), MOST) == Undone([1, 2], 2, 3)
    assert counts(gallery) == {1: 3, 2: 1}
    assert undo(gallery, Undo(2), MOST) == Undone([1, 2], 3, 4)
    assert undo(gallery, Undo(2, version=4), MOST) == Undone([1, 2], 4, 5)
    assert counts(gallery) == {1: 3, 2: 1}


def test_whoever_comes_back_counts(gallery: Gallery) -> None:
    merged(gallery)
    with pytest.raises(CollectionFull):
        undo(gallery, Undo(1), 1)


def test_nobody_comes_back_whose_retention_has_ended(gallery: Gallery) -> None:
    over = {"expires_at": "1970-01-01T00:20:00Z"}
    gallery.commit([replace(put(2), details=over)])
    merged(gallery)
    gallery.commit([Operation(Kind.DESCRIBE, 1, 6.0, details={"expires_at": None})])
    with pytest.raises(RetentionEnded, match="retention of 2 ended"):
        undo(gallery, Undo(1), MOST)


def test_two_people_are_noted_as_two(gallery: Gallery) -> None:
    assert tell(gallery, Tell(2, [1])) == 2
    people = gallery.refresh()
    similarity = people.similarity(1, 2)
    assert similarity is not None
    assert people.distinct.of(1) == {2: pytest.approx((1 + similarity) / 2)}
    tell(gallery, Tell(1, [2], 0.9))
    assert gallery.refresh().distinct.of(2) == {1: 0.9}
    tell(gallery, Tell(1, [2], same=True))
    assert gallery.refresh().distinct.of(2) == {}
    with pytest.raises(UnknownPair, match="1 and 2 are not known"):
        tell(gallery, Tell(1, [2], same=True))
    with pytest.raises(UnknownIdentity, match="under the id 9"):
        tell(gallery, Tell(1, [2, 9]))
    assert gallery.refresh().version == 4
