from __future__ import annotations

from collections.abc import Sequence

import pytest

from serving.errors import NotUndoable, UnknownPhoto
from serving.gallery import Person
from serving.gallery.records import Photo
from serving.matching.corrections import PhotosOf, Undone
from tests.support.api import Api, detail_of

PHOTO, OTHER = "0123456789abcdef", "f" * 16


@pytest.fixture
def api() -> Api:
    """One whose register lists two photos, and notes in ``moves`` what it is to move."""
    api = Api()

    async def photos(collection: str, person: int) -> PhotosOf:
        return PhotosOf([Photo(PHOTO, 0.123456), Photo(OTHER, None)], 17)

    async def person(collection: str, person: int, at_least: int | None) -> tuple[Person, int]:
        assert at_least == 18
        return Person(person, 2, None, {}, 0.0, 0.0), 18

    api.register.photos = photos  # type: ignore[method-assign]
    api.register.person = person  # type: ignore[method-assign,assignment]
    return api


def test_photos_are_listed(api: Api) -> None:
    answer = api.get("/identities/7/photos").json()
    assert answer["photos"] == [
        {"photo": PHOTO, "similarity": 0.1235},
        {"photo": OTHER, "similarity": None},
    ]
    assert answer["gallery_version"] == 17


def test_a_move_is_answered_with_whom_the_photos_are_of(api: Api) -> None:
    asked: list[tuple[object, ...]] = []

    async def move(collection: str, person: int, photos: Sequence[str], target: int) -> int:
        asked.append((collection, person, photos, target))
        return 18

    api.register.move = move  # type: ignore[method-assign]
    body = {"photos": [PHOTO, OTHER], "to": 9}
    answer = api.post("/collections/shop/identities/7/move", json=body)
    assert (answer.json()["id"], answer.json()["gallery_version"]) == (9, 18)
    assert asked == [("shop", 7, [PHOTO, OTHER], 9)]


def test_a_photo_that_is_not_there_is_a_404(api: Api) -> None:
    async def move(*asked: object) -> int:
        raise UnknownPhoto("7 has no photo.")

    api.register.move = move  # type: ignore[method-assign,assignment]
    answer = api.post("/identities/7/move", json={"photos": [PHOTO], "to": 9})
    assert detail_of(answer, 404) == "7 has no photo."
    assert answer.json()["type"].endswith(":unknown-photo")


@pytest.mark.parametrize(
    "body",
    [
        {"photos": [], "to": 9},
        {"photos": [PHOTO]},
        {"photos": ["0"], "to": 9},
        {"photos": [PHOTO.upper()], "to": 9},
        {"photos": [PHOTO], "to": -1},
        {"photos": [PHOTO], "to": 7},
    ],
)
def test_what_is_no_move_is_refused(api: Api, body: object) -> None:
    detail_of(api.post("/identities/7/move", json=body), 400)


def test_an_undo_says_who_has_changed(api: Api) -> None:
    asked: list[object] = []

    async def undo(collection: str, person: int, version: int | None) -> Undone:
        asked.append((person, version))
        return Undone([7, 8], 16, 18)

    async def unmerge(collection: str, person: int, sources: Sequence[int]) -> Undone:
        asked.append((person, sources))
        return Undone([7, 8], 16, 18)

    api.register.undo = undo  # type: ignore[method-assign]
    api.register.unmerge = unmerge  # type: ignore[method-assign]
    for path, body in (
        ("undo", {}),
        ("undo", {"version": 16}),
        ("unmerge", {}),
        ("unmerge", {"from": [8]}),
    ):
        answer = api.post(f"/identities/7/{path}", json=body)
        assert answer.json() == {"ids": [7, 8], "undone": 16, "gallery_version": 18}
    assert asked == [(7, None), (7, 16), (7, []), (7, [8])]


def test_what_cannot_be_undone_is_a_422(api: Api) -> None:
    async def undo(*asked: object) -> Undone:
        raise NotUndoable("Version 3 is in no version of the gallery that is kept.")

    api.register.undo = undo  # type: ignore[method-assign,assignment]
    detail_of(api.post("/identities/7/undo", json={}), 422)
    detail_of(api.post("/identities/7/undo", json={"version": 0}), 400)
    detail_of(api.post("/identities/7/unmerge", json={"from": [7]}), 400)


def test_who_is_not_whom_is_noted_and_taken_back(api: Api) -> None:
    asked: list[object] = []

    async def distinct(
        collection: str, person: int, others: Sequence[int], threshold: float | None
    ) -> int:
        asked.append((person, others, threshold))
        return 18

    async def same(collection: str, person: int, other: int) -> int:
        asked.append((person, other))
        return 18

    api.register.distinct = distinct  # type: ignore[method-assign]
    api.register.same = same  # type: ignore[method-assign]
    first = api.post("/identities/7/distinct", json={"from": [8, 9]})
    second = api.post("/identities/7/distinct", json={"from": [8], "threshold": 0.9})
    third = api.request("DELETE", "/identities/7/distinct/8")
    assert [answer.json()["id"] for answer in (first, second, third)] == [7, 7, 7]
    assert asked == [(7, [8, 9], None), (7, [8], 0.9), (7, 8)]


@pytest.mark.parametrize(
    "body", [{}, {"from": []}, {"from": [8], "threshold": 1.1}, {"from": [7]}, {"from": [8.5]}]
)
def test_what_says_nothing_of_two_people_is_refused(api: Api, body: object) -> None:
    detail_of(api.post("/identities/7/distinct", json=body), 400)


@pytest.mark.parametrize(
    "photo", ["", "z" * 16, PHOTO.upper(), f"{PHOTO}0", f" {PHOTO}", f"{PHOTO}\n"]
)
def test_an_id_of_a_photo_that_is_none_is_told_in_words(api: Api, photo: str) -> None:
    answer = api.post("/identities/7/move", json={"photos": [photo], "to": 9})
    assert "photos.0: the id of a photo is 16 of 0-9 and a-f." in detail_of(answer, 400)
