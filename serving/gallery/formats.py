"""Formats of stored objects: what this version reads, and what it must not drop.

An object says its format. One that is not known was written by a newer version, and is no damage.
A field that is not known in a known format does a reader no harm, but a writer would drop it, so
it refuses to write.
"""

from __future__ import annotations

import json
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.errors import GalleryCorrupt, GalleryTooNew


class Stored(BaseModel):
    """Part of a stored JSON object."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def unknown(self) -> set[str]:
        """The names of the fields that this version does not know."""
        return set(self.model_extra or ())


S = TypeVar("S", bound=Stored)


def read_json(key: str, data: bytes, kind: type[S]) -> S:
    """Parse the object ``key``, whose field ``format`` is a Literal of the formats that are read.

    Raises:
        GalleryTooNew: it has a newer format.
        GalleryCorrupt: it is damaged.
    """
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        family = str(kind.model_fields["format"].default).partition("/")[0]
        found = _format_of(data)
        if any(e["loc"] == ("format",) for e in error.errors()) and _is_of(family, found):
            raise GalleryTooNew(
                f"A newer version of this software wrote {key}, as {found}; upgrade this one."
            ) from None
        what = kind.__name__.lower()
        raise GalleryCorrupt(
            f"The {what} {key} cannot be read; restore it from a backup."
        ) from error


def is_newer(found: object, *known: str) -> bool:
    """Whether a format that is none of the ``known`` is one of their family."""
    return found not in known and _is_of(known[0].partition("/")[0], found)


def _is_of(family: str, found: object) -> bool:
    return isinstance(found, str) and found.startswith(f"{family}/")


def _format_of(data: bytes) -> object:
    try:
        document = json.loads(data)
    except ValueError:
        return None
    return document.get("format") if isinstance(document, dict) else None
