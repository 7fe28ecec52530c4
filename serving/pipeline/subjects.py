"""Subjects and their photos: people by their names; see `serving.matching.subjects`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.errors import UnknownIdentity, UnknownPhoto
from serving.gallery import Person
from serving.gallery.location import Location
from serving.matching.faces import FacesPage, Removal
from serving.matching.subjects import Renamed, one_of
from serving.model.embedder import Embedder
from serving.stages.interfaces import Match


class Subjects:
    """The subjects in the galleries of the served model."""

    def __init__(self, match: Match, embedder: Embedder) -> None:
        self._match = match
        self._embedder = embedder

    async def named(self, collection: str, subject: str) -> Sequence[Person]:
        """Whom the subject means, in the order of the ids."""
        return (await self._match.named(await self._location(collection), subject)).people

    async def one(self, collection: str, subject: str) -> Person:
        """The only person whom the subject means. Raises UnknownIdentity, AmbiguousName."""
        person = one_of(await self.named(collection, subject), subject)
        if person is None:
            raise UnknownIdentity(f"Nobody is called {subject}.")
        return person

    async def rename(self, collection: str, subject: str, new: str) -> Renamed:
        """See `serving.matching.subjects.rename`."""
        return await self._match.rename(await self._location(collection), subject, new)

    async def faces(
        self, collection: str, subject: str | None, first: int, limit: int
    ) -> FacesPage:
        """See `serving.matching.faces.page`."""
        return await self._match.faces(await self._location(collection), subject, first, limit)

    async def remove(self, collection: str, person: int, photos: Sequence[str]) -> int:
        """Remove photos of a person, who is gone without any; returns the version.

        Raises:
            UnknownPhoto: the person has no such photo, or is not enrolled.
        """
        removal = Removal(person, tuple(photos))
        try:
            return await self._match.remove(await self._location(collection), removal)
        except UnknownIdentity:
            raise UnknownPhoto("There is no such photo; it may have been removed.") from None

    async def alike(
        self, collection: str, person: int, photo: str, probes: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Cosines (F,) of faces to an enrolled photo; see `serving.matching.faces.alike`."""
        location = await self._location(collection)
        return (await self._match.alike(location, person, photo, probes)).similarities

    async def _location(self, collection: str) -> Location:
        card = (await self._embedder.served()).card
        return Location(collection, card.id, card.dimension)
