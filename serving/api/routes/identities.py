"""The HTTP API of who is enrolled: `/identities`."""

from __future__ import annotations

import asyncio
import functools
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request

from serving.api import audit, bodies, openapi
from serving.api.answers import identity_of, receipt_body
from serving.api.context import Collection, Context
from serving.api.schemas import (
    MAX_ID,
    EmbeddingsRequest,
    ErasureReceipt,
    IdentitiesAnswer,
    IdentityAnswer,
    IdentityPatch,
    MergeRequest,
    WriteAnswer,
)
from serving.errors import BadRequest, NotReadBack, TimedOut, Unavailable

# A thousand embeddings of 4,096 dimensions.
_EMBEDDING_VALUES = 1000 * 4096
PersonPath = Annotated[int, Path(ge=0, le=MAX_ID, alias="id")]
# Not by FastAPI, which parses on the event loop and takes whatever ends a body for damaged JSON.
PatchBody = Annotated[IdentityPatch, Depends(bodies.json_of(IdentityPatch))]
MergeBody = Annotated[MergeRequest, Depends(bodies.json_of(MergeRequest))]
EmbeddingsBody = Annotated[
    EmbeddingsRequest, Depends(bodies.json_of(EmbeddingsRequest, _EMBEDDING_VALUES))
]


def router(context: Context) -> APIRouter:
    api = APIRouter(prefix="/identities", tags=["identities"])
    register, in_time = context.register, context.in_time
    written = functools.partial(in_time, writes=True)

    @api.get("")
    async def people(
        collection: Collection,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[int, Query(ge=-1, le=MAX_ID, description="`next` of a page")] = -1,
    ) -> IdentitiesAnswer:
        """Who is enrolled, in pages, in the order of the ids."""

        async def work() -> IdentitiesAnswer:
            card, page = await register.card(), await register.page(collection, limit, cursor)
            return IdentitiesAnswer(
                identities=[identity_of(p, card.id) for p in page.people],
                next=page.people[-1].id if len(page.people) == limit else None,
                total=page.total,
                model=card.id,
                gallery_version=page.gallery_version,
            )

        return await in_time(work())

    @api.get("/{id}")
    async def person(collection: Collection, person: PersonPath) -> IdentityAnswer:
        """One person."""
        return await _answer(context, collection, person)

    @api.patch("/{id}", openapi_extra=openapi.json_body(IdentityPatch))
    async def describe(
        request: Request, collection: Collection, person: PersonPath, patch: PatchBody
    ) -> IdentityAnswer:
        """Change the name or the metadata."""
        if not patch.model_fields_set:
            raise BadRequest("Give a name or metadata, or null to remove it.")
        details = patch.model_dump(exclude_unset=True)
        with audit.change(request, "describe", [person]) as done:
            version = await written(register.describe(collection, person, details))
            done(version)
        return await _answer(context, collection, person, version)

    @api.delete("/{id}")
    async def delete(
        request: Request, collection: Collection, person: PersonPath, erase: bool = False
    ) -> WriteAnswer | ErasureReceipt:
        """Forget a person. With `erase` also in the bucket, at once, with a receipt; then also
        somebody who was deleted before, and in the galleries of all models."""
        if erase:
            with audit.change(request, "erase", [person], in_parts=True) as done:
                receipts = await written(register.erase(collection, person))
                for receipt in receipts:  # a line for each gallery: its versions are its own
                    done(receipt.gallery_version, model=receipt.model)
            return receipt_body(person, receipts)
        with audit.change(request, "delete", [person]) as done:
            version = await written(register.delete(collection, person))
            done(version)
        return WriteAnswer(gallery_version=version)

    @api.delete("")
    async def delete_all(
        request: Request,
        collection: Collection,
        confirm: Annotated[Literal["all"], Query(description="so that it is no accident")],
    ) -> WriteAnswer:
        """Forget everybody."""
        with audit.change(request, "delete-all", []) as done:
            version = await written(register.delete_all(collection))
            done(version)
        return WriteAnswer(gallery_version=version)

    @api.post("/{id}/merge", openapi_extra=openapi.json_body(MergeRequest))
    async def merge(
        request: Request, collection: Collection, person: PersonPath, asked: MergeBody
    ) -> IdentityAnswer:
        """Several records of one person become one, without their photos."""
        with audit.change(request, "merge", [person, *asked.sources]) as done:
            version = await written(register.merge(collection, person, asked.sources))
            done(version)
        return await _answer(context, collection, person, version)

    @api.post("/{id}/embeddings", openapi_extra=openapi.json_body(EmbeddingsRequest))
    async def add(
        request: Request, collection: Collection, person: PersonPath, asked: EmbeddingsBody
    ) -> IdentityAnswer:
        """Add embeddings that were made elsewhere; enrols the person if need be."""
        vectors = await asyncio.to_thread(_array, asked.embeddings)
        replace = asked.mode == "replace"
        with audit.change(request, "add", [person]) as done:
            version = await written(
                register.add(collection, person, asked.model, vectors, replace=replace)
            )
            done(version, mode=asked.mode, photos=len(vectors))
        return await _answer(context, collection, person, version)

    return api


async def _answer(
    context: Context, collection: str, person: int, written: int | None = None
) -> IdentityAnswer:
    """The person, as of now or, after a write, in the version that holds it or a later one."""
    register = context.register

    async def work() -> IdentityAnswer:
        card = await register.card()
        found, version = await register.person(collection, person, written)
        return IdentityAnswer(**identity_of(found, card.id).model_dump(), gallery_version=version)

    try:
        return await context.in_time(work())
    except (Unavailable, TimedOut) as error:
        if written is None:
            raise
        # What was committed stays: a failure to read it back must not look like one to write.
        told = f"It is written, as version {written} of the gallery, but cannot be read back."
        raise NotReadBack(f"{told} {error}") from error


def _array(rows: list[list[float]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    if len({len(row) for row in rows}) != 1:
        raise BadRequest("The embeddings have different lengths.")
    vectors = np.array(rows, np.float32)
    if not np.isfinite(vectors).all():
        raise BadRequest("An embedding holds a number that is not finite.")
    return vectors
