"""The people enrolled: reading and changing the gallery through the match stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import (
    BadRequest,
    OtherModel,
    RetentionEnded,
    UnknownIdentity,
    UnusableRetention,
)
from serving.gallery import Kind, Operation, Person
from serving.gallery.erasure import Erasure
from serving.gallery.location import Location
from serving.gallery.retention import text_of
from serving.matching.corrections import Move, PhotosOf, Tell, Undo, Undone
from serving.matching.records import DuplicatesPage, PeoplePage
from serving.model.card import ModelCard
from serving.model.embedder import Embedder
from serving.pipeline.freshness import Versions
from serving.pipeline.keeping import default_end
from serving.pipeline.subjects import Subjects
from serving.settings import RetentionSettings
from serving.stages import refs
from serving.stages.interfaces import Match


class Identities:
    """The people in the galleries of the served model.

    Attributes:
        subjects: the same people, by their names.
    """

    def __init__(
        self,
        match: Match,
        embedder: Embedder,
        versions: Versions,
        keeping: RetentionSettings | None = None,
    ) -> None:
        self._match = match
        self._embedder = embedder
        self._versions = versions
        self._keeping = keeping or RetentionSettings()
        self.subjects = Subjects(match, embedder)

    def days_kept(self, collection: str) -> int | None:
        """For how many days people are kept who are enrolled without an end; None: without one."""
        return self._keeping.days_in(collection)

    async def card(self) -> ModelCard:
        """The card of the served model."""
        return (await self._embedder.served()).card

    async def collections(self) -> dict[str, list[str]]:
        """The models of which each collection has a gallery, by the collection's name."""
        models: dict[str, list[str]] = {}
        for collection, model in await self._match.collections():
            models.setdefault(collection, []).append(model)
        return {collection: sorted(models[collection]) for collection in sorted(models)}

    async def page(
        self,
        collection: str,
        limit: int,
        after: int,
        at_least: int | None = None,
        ending: float | None = None,
    ) -> PeoplePage:
        """The first ``limit`` people whose ids are past ``after``.

        Args:
            at_least: the version to read at least; None: the newest one.
            ending: only people whose retention ends before then, in seconds since 1970.
        """
        location = await self._location(collection)
        version = await self._versions.now(location) if at_least is None else at_least
        return await self._match.people(location, limit, after, version, ending)

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
        location = await self._location(collection)
        version = await self._versions.now(location)
        card = await self.card()

        async def compare() -> DuplicatesPage:
            page = await self._match.duplicates(location, card, threshold, limit, after, version)
            return await page.get()

        return await refs.kept(compare)

    async def describe(self, collection: str, person: int, details: dict[str, Any]) -> int:
        """Change what ``details`` has of a person; returns the version."""
        return await self._change(
            collection, _operation(Kind.DESCRIBE, person, details=details), [person]
        )

    async def delete(self, collection: str, person: int) -> int:
        return await self._change(collection, _operation(Kind.DELETE, person), [person])

    async def delete_all(self, collection: str) -> int:
        return await self._change(collection, _operation(Kind.CLEAR, 0), [])

    async def erase(self, collection: str, person: int) -> Erasure:
        return await self._match.erase(collection, person)

    async def withdraw(self, collection: str, person: int, now: float) -> Erasure:
        """Erase a person who has withdrawn the consent at ``now``, in seconds since 1970.

        That is noted first: so nobody is named as this person even if the erasure fails, and the
        maintenance erases what is left.

        Raises:
            UnusableRetention: another legal basis is noted than a consent.
        """
        # Deleted before, or only in the gallery of another model; or it ends at this moment.
        with suppress(UnknownIdentity, RetentionEnded):
            record, _ = await self.person(collection, person)
            basis = record.legal_basis or {"kind": "consent"}
            if basis["kind"] != "consent":
                raise UnusableRetention(
                    f"The legal basis of {person} is {basis['kind']}: only a consent can be "
                    "withdrawn. To forget a person, erase the record."
                )
            if record.end > now:
                basis = {**basis, "withdrawn_at": text_of(now)}
                await self.describe(collection, person, {"legal_basis": basis})
        return await self.erase(collection, person)

    async def merge(self, collection: str, person: int, sources: Sequence[int]) -> int:
        """Merge ``sources`` into ``person``; all of them have to exist."""
        if person in sources:
            raise BadRequest("A person cannot be merged into himself.")
        merge = _operation(Kind.MERGE, person, sources=tuple(dict.fromkeys(sources)))
        try:
            return await self._change(collection, merge, [person, *sources])
        except UnknownIdentity as error:
            # Answers get lost; to answer 200 would also hide a slip in an id.
            raise UnknownIdentity(f"{error} One that was merged already looks like this.") from None

    async def photos(self, collection: str, person: int) -> PhotosOf:
        """A person's photos; raises UnknownIdentity."""
        return await self._match.photos(await self._location(collection), person)

    async def move(self, collection: str, person: int, photos: Sequence[str], target: int) -> int:
        """Move photos of a person to ``target``, who may be new; returns the version."""
        if person == target:
            raise BadRequest("The photos are this person's already.")
        move = Move(person, target, tuple(dict.fromkeys(photos)))
        return await self._match.move(await self._location(collection), move)

    async def distinct(
        self, collection: str, person: int, others: Sequence[int], threshold: float | None
    ) -> int:
        """Note that none of ``others`` is this person; returns the version."""
        if person in others:
            raise BadRequest("A person is the same as himself.")
        wanted = Tell(person, tuple(dict.fromkeys(others)), threshold)
        return await self._match.tell(await self._location(collection), wanted)

    async def same(self, collection: str, person: int, other: int) -> int:
        """Take `distinct` back; returns the version."""
        tell = Tell(person, [other], same=True)
        return await self._match.tell(await self._location(collection), tell)

    async def undo(self, collection: str, person: int, version: int | None) -> Undone:
        """Undo a move, a merge or an undo: that of a version, or the person's last one."""
        return await self._undo(collection, Undo(person, version))

    async def unmerge(self, collection: str, person: int, sources: Sequence[int]) -> Undone:
        """Undo the last merge of ``sources`` into ``person``; of all, where there are none."""
        if person in sources:
            raise BadRequest("A person cannot be taken out of himself.")
        wanted = tuple(dict.fromkeys(sources))
        return await self._undo(collection, Undo(person, merges=True, sources=wanted))

    async def _undo(self, collection: str, undo: Undo) -> Undone:
        return await self._match.undo(await self._location(collection), undo)

    async def add(
        self,
        collection: str,
        person: int,
        model: str,
        embeddings: NDArray[np.float32],
        *,
        replace: bool,
    ) -> int:
        """Enrol embeddings (P, D) that the model made elsewhere; of any length but zero.

        Raises:
            OtherModel: another model is served.
            BadRequest: their shape or a length of zero shows that they are not of this model.
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
        operation = _operation(
            kind,
            person,
            embeddings=(embeddings / lengths).astype(np.float32),
        )
        location = await self._location(collection)
        end = default_end(self._keeping, collection, {})
        return await self._match.change(location, [operation], [], end)

    async def _change(self, collection: str, operation: Operation, require: Sequence[int]) -> int:
        location = await self._location(collection)
        return await self._match.change(location, [operation], require)

    async def _location(self, collection: str) -> Location:
        card = await self.card()
        return Location(collection, card.id, card.dimension)


def _operation(kind: Kind, person: int, **more: Any) -> Operation:
    return Operation(kind, person, time.time(), **more)
