"""The HTTP API of corrections: what of a person's record is somebody else's."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request

from serving.api import audit, examples, openapi
from serving.api.context import Collection, Context, ContextDep
from serving.api.parsing import json_of
from serving.api.read_back import PersonPath, read_back
from serving.api.request_schemas import (
    DistinctRequest,
    MoveRequest,
    UndoRequest,
    UnmergeRequest,
)
from serving.api.schemas import IdentityAnswer, PhotoBody, PhotosAnswer, UndoneAnswer
from serving.api.scopes import needs
from serving.keys import Scope
from serving.matching.corrections import PhotosOf, Undone
from serving.settings import MAX_ID

router = APIRouter(prefix="/identities/{id}", tags=["identities"])

MoveBody = Annotated[MoveRequest, Depends(json_of(MoveRequest))]
OtherPath = Annotated[int, Path(ge=0, le=MAX_ID)]
DistinctBody = Annotated[DistinctRequest, Depends(json_of(DistinctRequest))]
UnmergeBody = Annotated[UnmergeRequest, Depends(json_of(UnmergeRequest))]
UndoBody = Annotated[UndoRequest, Depends(json_of(UndoRequest))]


@router.get("/photos")
@openapi.shows(examples.PHOTOS)
@needs(Scope.ENROL)
async def photos(collection: Collection, person: PersonPath, context: ContextDep) -> PhotosAnswer:
    """The enrolled photos of a person, to find those that show somebody else."""

    async def work() -> tuple[PhotosOf, str]:
        found = await context.register.photos(collection, person)
        return found, (await context.register.card()).id

    found, model = await context.in_time(work())
    return PhotosAnswer(
        photos=[
            PhotoBody(
                photo=photo.id,
                similarity=None if photo.similarity is None else round(photo.similarity, 4),
            )
            for photo in found.photos
        ],
        model=model,
        gallery_version=found.gallery_version,
    )


@router.post("/move", openapi_extra=openapi.json_body(MoveRequest))
@openapi.shows(examples.MOVE)
@needs(Scope.ENROL)
async def move(
    request: Request,
    collection: Collection,
    person: PersonPath,
    body: MoveBody,
    context: ContextDep,
) -> IdentityAnswer:
    """Photos of this person become those of another one, who is the answer. A person without
    photos is gone."""
    with audit.change(request, "move", [body.to, person]) as done:
        write = context.register.move(collection, person, body.photos, body.to)
        version = await context.in_time(write, writes=True)
        done(version, photos=len(set(body.photos)))
    return await read_back(context, collection, body.to, version)


@router.post("/distinct", openapi_extra=openapi.json_body(DistinctRequest))
@openapi.shows(examples.DISTINCT)
@needs(Scope.ENROL)
async def distinct(
    request: Request,
    collection: Collection,
    person: PersonPath,
    body: DistinctBody,
    context: ContextDep,
) -> IdentityAnswer:
    """None of the others is this person: such a pair is not proposed as duplicates again, and a
    face that is like both is not named, below a higher threshold."""
    with audit.change(request, "distinct", [person, *body.others]) as done:
        write = context.register.distinct(collection, person, body.others, body.threshold)
        version = await context.in_time(write, writes=True)
        done(version)
    return await read_back(context, collection, person, version)


@router.delete("/distinct/{other}")
@openapi.shows(examples.SAME)
@needs(Scope.ENROL)
async def same(
    request: Request,
    collection: Collection,
    person: PersonPath,
    other: OtherPath,
    context: ContextDep,
) -> IdentityAnswer:
    """The two may be one person: what was said is taken back."""
    with audit.change(request, "same", [person, other]) as done:
        write = context.register.same(collection, person, other)
        version = await context.in_time(write, writes=True)
        done(version)
    return await read_back(context, collection, person, version)


@router.post("/unmerge", openapi_extra=openapi.json_body(UnmergeRequest))
@openapi.shows(examples.UNMERGE)
@needs(Scope.ENROL)
async def unmerge(
    request: Request,
    collection: Collection,
    person: PersonPath,
    body: UnmergeBody,
    context: ContextDep,
) -> UndoneAnswer:
    """Take people out again who were merged into this one, with the photos that they had. Photos
    that were added since stay; nothing is undone that is in no version of the gallery any more."""
    with audit.change(request, "unmerge", [person, *body.sources]) as done:
        write = context.register.unmerge(collection, person, body.sources)
        return await _undone(context, write, done)


@router.post("/undo", openapi_extra=openapi.json_body(UndoRequest))
@openapi.shows(examples.UNDO)
@needs(Scope.ENROL)
async def undo(
    request: Request,
    collection: Collection,
    person: PersonPath,
    body: UndoBody,
    context: ContextDep,
) -> UndoneAnswer:
    """Undo a move or a merge of this person's photos, or an undo; the last one, or that of a
    version. What came since stays; versions are kept until they are swept."""
    with audit.change(request, "undo", [person]) as done:
        return await _undone(context, context.register.undo(collection, person, body.version), done)


async def _undone(
    context: Context, write: Coroutine[Any, Any, Undone], done: audit.Done
) -> UndoneAnswer:
    undone = await context.in_time(write, writes=True)
    done(undone.gallery_version, undone=undone.version)
    return UndoneAnswer(
        ids=list(undone.ids), undone=undone.version, gallery_version=undone.gallery_version
    )
