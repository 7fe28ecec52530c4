"""Ids of images: a UUID of the person's id and the photo's, see `serving.gallery.records.Photo`."""

from __future__ import annotations

import re
import uuid

from serving.api.compreface.codes import WrongArgument
from serving.errors import UnknownPhoto
from serving.settings import MAX_ID

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def image_id(person: int, photo: str) -> str:
    """The id of an enrolled photo.

    Args:
        photo: 16 hex digits.
    """
    return str(uuid.UUID(int=person << 64 | int(photo, 16)))


def photo_of(image: str) -> tuple[int, str]:
    """The person and the photo.

    Raises:
        WrongArgument: it is no UUID.
        UnknownPhoto: it is one of something else.
    """
    if _UUID.fullmatch(image) is None:
        raise WrongArgument("An image_id is a UUID, as the list of faces has it.")
    number = uuid.UUID(image).int
    if (person := number >> 64) > MAX_ID:
        raise UnknownPhoto("There is no such image.")
    return person, f"{number & 0xFFFF_FFFF_FFFF_FFFF:016x}"
