"""Who is enrolled: reading and changing the gallery through the matchers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import BadRequest, OtherModel, UnknownIdentity
from serving.gallery import Kind, Operation, Person
from serving.gallery.compaction import Receipt
from serving.gallery.location import Location
from serving.matching.records import DuplicatesPage, PeoplePage
from serving.model.card import ModelCard
from serving.model.embedder import Embedder
from serving.pipeline.freshness import Versions
from serving.stages import refs
from serving.stages.calls import call, write


class Register:
    """The people in the galleries of the served model.

    Args:
        match: handle of the deployment.
    """

    def __init__(self, match: Any, embedder: Embedder, versions: Versions) -> None:
        self._match = match
        self._embedder = embedder
        self._versions = versions

    async def card(self) -> ModelCard:
        """The card of the served model."""
        return (await self._embedder.served()).card

    async def collections(self) -> dict[str, list[str]]:
        """The models of which each collection has a gallery, by the collection's name."""
        found: list[Location] = await call(self._match.collections)
        names = sorted({where.collection for where in found})
        return {n: sorted(w.model for w in found if w.collection == n) for n in names}

    async def page(
        self, collection: str, limit: int, after: int, at_least: int | None = None
    ) -> PeoplePage:
        """The first ``limit`` people whose ids are past ``after``.

        Args:
            at_least: a version that suffices; None: as of now.
        """
        where = await self._where(collection)
        version = await self._versions.now(where) if at_least is None else at_least
        page: PeoplePage = await call(self._match.people, where, limit, after, version)
        return page

    async def person(
        self, collection: str, person: int, at_least: int | None = None
    ) -> tuple[Person, int]:
        """The person and the gallery's version, see `page`. Raises UnknownIdentity."""
        page = await self.page(collection, 1, person - 1, at_least)
        if not page.people or page.people[0].id != person:
            raise UnknownIdentity(f"Nobody is enrolled under the id {person}.")
        return page.people[0], page.gallery_version

    async def duplicates(
        self, collection: str, threshold: float | None, limit: int, after: int
    ) -> DuplicatesPage:
        """Likely duplicates; see `serving.matching.duplicates.compare_people`."""
        where = await self._where(collection)
        version = await self._versions.now(where)
        card = await self.card()

        async def compare() -> DuplicatesPage:
            page: refs.Ref[DuplicatesPage] = await call(
                self._match.duplicates, where, card, threshold, limit, after, version
            )
            return await page.get()

        return await refs.kept(compare)

    async def describe(self, collection: str, person: int, details: dict[str, Any]) -> int:
        """Change name and metadata, those that ``details`` has; returns the version."""
        return await self._change(
            collection, _operation(Kind.DESCRIBE, person, details=details), [person]
        )

    async def delete(self, collection: str, person: int) -> int:
        return await self._change(collection, _operation(Kind.DELETE, person), [person])

    async def delete_all(self, collection: str) -> int:
        return await self._change(collection, _operation(Kind.CLEAR, 0), [])

    async def erase(self, collection: str, person: int) -> list[Receipt]:
        receipts: list[Receipt] = await write(self._match.erase, collection, person)
        return receipts

    async def merge(self, collection: str, person: int, sources: Sequence[int]) -> int:
        """All of ``sources`` become ``person``, who must exist as they must."""
        if person in sources:
            raise BadRequest("A person cannot be merged into himself.")
        merge = _operation(Kind.MERGE, person, sources=tuple(dict.fromkeys(sources)))
        return await self._change(collection, merge, [person, *sources])

    async def add(
        self,
        collection: str,
        person: int,
        model: str,
        embeddings: NDArray[np.float32],
        *,
        replace: bool,
    ) -> int:
        """Enrol embeddings (P, D) that the model made elsewhere; of any length, not zero.

        Raises:
            OtherModel: another model is served.
            BadRequest: they are no embeddings of this model.
        """
        card = await self.card()
        if model != card.id:
            raise OtherModel(
                f"These are embeddings of {model}, but {card.id} is served: the two cannot be "
                "compared."
            )
        # In float32 the squares of large numbers are infinite, and the rows would become zeros.
        lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
        if embeddings.shape[1] != card.dimension or not (lengths > 1e-6).all():
            raise BadRequest(f"An embedding is {card.dimension} finite numbers, not all zero.")
        kind = Kind.PUT if replace else Kind.APPEND
        operation = _operation(kind, person, embeddings=(embeddings / lengths).astype(np.float32))
        return await self._change(collection, operation, [])

    async def _change(self, collection: str, operation: Operation, require: Sequence[int]) -> int:
        where = await self._where(collection)
        version: int = await write(self._match.change, where, [operation], require)
        return version

    async def _where(self, collection: str) -> Location:
        card = await self.card()
        return Location(collection, card.id, card.dimension)


def _operation(kind: Kind, person: int, **more: Any) -> Operation:
    return Operation(kind, person, time.time(), **more)
