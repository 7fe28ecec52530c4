"""The HTTP API of the people who are enrolled: `/identities`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response

from serving.api import actions, audit, examples, openapi
from serving.api.answers import identity_of, receipt_body
from serving.api.context import Collection, Context, ContextDep
from serving.api.parsing import json_of
from serving.api.read_back import PersonPath, read_back
from serving.api.replies import reply
from serving.api.request_schemas import EmbeddingsRequest, IdentityPatch, MergeRequest, Time
from serving.api.retention import retention_of
from serving.api.schemas import (
    ErasureReceipt,
    IdentitiesAnswer,
    IdentityAnswer,
    WriteAnswer,
)
from serving.api.scopes import needs
from serving.errors import BadRequest
from serving.gallery.erasure import Erasure
from serving.gallery.retention import RETENTION, seconds_of, text_of
from serving.keys import Scope
from serving.settings import MAX_ID

router = APIRouter(prefix="/identities", tags=["identities"])

# A thousand embeddings of 1,024 dimensions: JSON is parsed in one piece, and the event loop waits.
_EMBEDDING_VALUES = 1000 * 1024
# Not by FastAPI, which parses on the event loop and reports any error that ends a body as
# damaged JSON.
PatchBody = Annotated[IdentityPatch, Depends(json_of(IdentityPatch))]
MergeBody = Annotated[MergeRequest, Depends(json_of(MergeRequest))]
EmbeddingsBody = Annotated[
    EmbeddingsRequest, Depends(json_of(EmbeddingsRequest, _EMBEDDING_VALUES))
]


@router.get("", response_model=IdentitiesAnswer)
@openapi.shows(examples.PEOPLE)
@needs(Scope.ENROL)
async def people(
    collection: Collection,
    context: ContextDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[int, Query(ge=-1, le=MAX_ID, description="`next` of a page")] = -1,
    expires_before: Annotated[
        Time | None, Query(description="RFC 3339: only whose retention ends before then")
    ] = None,
) -> Response:
    """Who is enrolled, in pages, in the order of the ids; also whose retention has ended and who
    is not erased yet."""
    ending = None if expires_before is None else seconds_of(expires_before)

    async def work() -> Response:
        card = await context.register.card()
        # One more than asked for shows whether anybody follows.
        page = await context.register.page(collection, limit + 1, cursor, ending=ending)
        people = page.people[:limit]
        return await reply(
            lambda: IdentitiesAnswer(
                identities=[identity_of(p, card.id) for p in people],
                next=people[-1].id if len(page.people) > limit else None,
                total=page.total,
                days_kept=context.register.days_kept(collection),
                model=card.id,
                gallery_version=page.gallery_version,
            )
        )

    return await context.in_time(work())


@router.get("/{id}")
@openapi.shows(examples.PERSON)
@needs(Scope.ENROL)
async def person(collection: Collection, person: PersonPath, context: ContextDep) -> IdentityAnswer:
    """One person."""
    return await read_back(context, collection, person)


@router.patch("/{id}", openapi_extra=openapi.json_body(IdentityPatch))
@openapi.shows(examples.DESCRIBE)
@needs(Scope.ENROL)
async def describe(
    request: Request,
    collection: Collection,
    person: PersonPath,
    patch: PatchBody,
    context: ContextDep,
) -> IdentityAnswer:
    """Change the name, the metadata or the retention."""
    if not patch.model_fields_set:
        fields = "a name, metadata, expires_at or legal_basis"
        raise BadRequest(f"Give {fields}, or null to remove it.")
    details = patch.model_dump(exclude_unset=True, exclude={*RETENTION}) | retention_of(patch)
    with audit.change(request, "describe", [person]) as done:
        write = context.register.describe(collection, person, details)
        version = await context.in_time(write, writes=True)
        done(version)
    return await read_back(context, collection, person, version)


@router.delete(
    "/{id}",
    responses={207: {"model": ErasureReceipt, "description": "Erased, but not everywhere"}},
)
@openapi.shows(examples.DELETE)
@needs(Scope.ADMIN)
async def delete(
    request: Request,
    response: Response,
    collection: Collection,
    person: PersonPath,
    context: ContextDep,
    erase: bool = False,
) -> WriteAnswer | ErasureReceipt:
    """Forget a person. With `erase` also in the bucket, at once, with a receipt; then also
    somebody who was deleted before, and in the galleries of all models."""
    if erase:
        erasure = context.register.erase(collection, person)
        erased = await _erased(request, response, "erase", collection, person, erasure, context)
        return receipt_body(person, erased)
    version = await actions.delete(request, context, collection, person)
    return WriteAnswer(gallery_version=version)


@router.post(
    "/{id}/withdraw",
    responses={207: {"model": ErasureReceipt, "description": "Erased, but not everywhere"}},
)
@openapi.shows(examples.WITHDRAW)
@needs(Scope.ADMIN)
async def withdraw(
    request: Request,
    response: Response,
    collection: Collection,
    person: PersonPath,
    context: ContextDep,
) -> ErasureReceipt:
    """The person has withdrawn the consent: erase, as DELETE with `erase` does. Nobody is named as
    this person from then on, also where the erasure fails; the maintenance then erases the
    rest."""
    now = time.time()
    erasure = context.register.withdraw(collection, person, now)
    erased = await _erased(request, response, "withdraw", collection, person, erasure, context)
    return receipt_body(person, erased, text_of(now))


async def _erased(
    request: Request,
    response: Response,
    action: str,
    collection: str,
    person: int,
    work: Coroutine[Any, Any, Erasure],
    context: Context,
) -> Erasure:
    with audit.change(request, action, [person], in_parts=True) as done:
        erased = await context.in_time(work, writes=True)
        for receipt in erased.receipts:  # a line for each gallery: its versions are its own
            done(receipt.gallery_version, model=receipt.model)
        for left in erased.left:
            audit.failed(request, action, [person], left.gallery)
    erased = await audit.forget(context, collection, person, erased)
    response.status_code = 207 if erased.left else 200
    return erased


@router.delete("")
@openapi.shows(examples.DELETE_ALL)
@needs(Scope.ADMIN)
async def delete_all(
    request: Request,
    collection: Collection,
    context: ContextDep,
    confirm: Annotated[Literal["all"], Query(description="so that it is no accident")],
) -> WriteAnswer:
    """Forget everybody."""
    return WriteAnswer(gallery_version=await actions.delete_all(request, context, collection))


@router.post("/{id}/merge", openapi_extra=openapi.json_body(MergeRequest))
@openapi.shows(examples.MERGE)
@needs(Scope.ENROL)
async def merge(
    request: Request,
    collection: Collection,
    person: PersonPath,
    body: MergeBody,
    context: ContextDep,
) -> IdentityAnswer:
    """Several records of one person become one, without their photos."""
    with audit.change(request, "merge", [person, *body.sources]) as done:
        write = context.register.merge(collection, person, body.sources)
        version = await context.in_time(write, writes=True)
        done(version)
    return await read_back(context, collection, person, version)


@router.post("/{id}/embeddings", openapi_extra=openapi.json_body(EmbeddingsRequest))
@openapi.shows(examples.ADD)
@needs(Scope.ENROL)
async def add(
    request: Request,
    collection: Collection,
    person: PersonPath,
    body: EmbeddingsBody,
    context: ContextDep,
) -> IdentityAnswer:
    """Add embeddings that were made elsewhere; enrols the person if need be."""
    vectors = await asyncio.to_thread(_array, body.embeddings)
    replace = body.mode == "replace"
    with audit.change(request, "add", [person]) as done:
        write = context.register.add(collection, person, body.model, vectors, replace=replace)
        version = await context.in_time(write, writes=True)
        done(version, mode=body.mode, photos=len(vectors))
    return await read_back(context, collection, person, version)


def _array(rows: list[list[float]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    if len({len(row) for row in rows}) != 1:
        raise BadRequest("The embeddings have different lengths.")
    with np.errstate(over="ignore"):
        vectors = np.array(rows, np.float32)
    # JSON has no other numbers than finite ones.
    if not np.isfinite(vectors).all():
        raise BadRequest("An embedding holds a number that is too large for 32 bits.")
    return vectors
