"""Ids of images: UUIDs that hold the person and the photo."""

from __future__ import annotations

import uuid

import pytest

from serving.api.compreface.codes import WrongArgument
from serving.api.compreface.image_ids import image_id, photo_of
from serving.errors import UnknownPhoto
from serving.settings import MAX_ID


@pytest.mark.parametrize("person", [0, 7, 2**32, MAX_ID])
@pytest.mark.parametrize("photo", ["00112233aabbccdd", "0" * 16, "f" * 16])
def test_an_id_leads_back(person: int, photo: str) -> None:
    made = image_id(person, photo)
    assert str(uuid.UUID(made)) == made
    assert photo_of(made) == photo_of(made.upper()) == (person, photo)


def test_it_is_readable() -> None:
    assert image_id(7, "00112233aabbccdd") == "00000000-0000-0007-0011-2233aabbccdd"


@pytest.mark.parametrize("text", ["", "7", "0" * 32, "{" + "0" * 36 + "}", "x" * 36, "1\n"])
def test_whatever_is_no_uuid_is_refused(text: str) -> None:
    with pytest.raises(WrongArgument):
        photo_of(text)


def test_a_uuid_of_something_else_is_of_no_photo() -> None:
    with pytest.raises(UnknownPhoto):
        photo_of("ffffffff-0000-4000-8000-000000000000")
