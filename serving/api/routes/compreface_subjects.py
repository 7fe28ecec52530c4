"""CompreFace's routes for subjects: `/api/v1/recognition/subjects`. See docs/compreface.md."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict

from serving.api import actions, audit, openapi
from serving.api.compreface.codes import PREFIX, SubjectExists
from serving.api.context import Collection, ContextDep
from serving.api.memory import lease_of
from serving.api.parsing import json_of
from serving.api.replies import reply_json
from serving.api.scopes import needs
from serving.errors import BadRequest
from serving.keys import Scope
from serving.matching.subjects import is_of_unnamed, subject_of
from serving.reading.names import name_problem

router = APIRouter(prefix=f"{PREFIX}/recognition/subjects", include_in_schema=False)

_AT_ONCE = 1000
# A subject in memory, in a list and then in JSON.
_SUBJECT_BYTES = 500
_NOTE = "A subject is listed from its first face on: this service keeps nobody without a photo."


class SubjectRequest(BaseModel):
    # The Python SDK sends the name of its own parameter, too.
    model_config = ConfigDict(extra="ignore", strict=True)

    subject: str


SubjectBody = Annotated[SubjectRequest, Depends(json_of(SubjectRequest))]
_BODY = openapi.json_body(SubjectRequest)


@router.get("")
@router.get("/")
@needs(Scope.ENROL)
async def subjects(request: Request, collection: Collection, context: ContextDep) -> Response:
    """All subjects."""

    async def work() -> Response:
        found: dict[str, None] = {}
        after, version = -1, None
        while True:
            page = await context.register.page(collection, _AT_ONCE, after, version)
            lease_of(request).take(_SUBJECT_BYTES * len(page.people))
            found.update((subject_of(p.id, p.name), None) for p in page.people)
            if len(page.people) < _AT_ONCE:
                return await reply_json(lambda: {"subjects": sorted(found)})
            after, version = page.people[-1].id, page.gallery_version

    return await context.in_time(work())


@router.post("", openapi_extra=_BODY)
@router.post("/", openapi_extra=_BODY)
@needs(Scope.ENROL)
async def add(collection: Collection, body: SubjectBody, context: ContextDep) -> Response:
    """Say whether a subject can be added; it is there with its first face."""
    name = new_name(body.subject)

    async def work() -> Response:
        if await context.register.subjects.named(collection, name):
            raise SubjectExists("Subject already exists")
        return await reply_json(lambda: {"subject": name, "note": _NOTE}, 201)

    return await context.in_time(work())


@router.put("/{subject:path}", openapi_extra=_BODY)
@needs(Scope.ENROL)
async def rename(
    request: Request, subject: str, collection: Collection, body: SubjectBody, context: ContextDep
) -> dict[str, Any]:
    """Give a subject another name, or merge it into the one that has the name."""
    name = new_name(body.subject)
    person = (await context.in_time(context.register.subjects.one(collection, subject))).id
    ids = [person]
    # Which of the two it is, the commit shows.
    with audit.change(request, "describe", ids) as done:
        write = context.register.subjects.rename(collection, subject, name)
        renamed = await context.in_time(write, writes=True)
        if renamed.merged is None:
            done(renamed.gallery_version)
    if renamed.merged is not None:
        with audit.change(request, "merge", [renamed.person, renamed.merged]) as done:
            done(renamed.gallery_version)
    return {"updated": True}


@router.delete("/{subject:path}")
@needs(Scope.ADMIN)
async def delete(
    request: Request, subject: str, collection: Collection, context: ContextDep
) -> dict[str, Any]:
    """Forget a subject."""
    if not subject:
        raise BadRequest("Give the subject; without the slash at its end the path removes all.")
    person = await context.in_time(context.register.subjects.one(collection, subject))
    await actions.delete(request, context, collection, person.id)
    return {"subject": subject}


@router.delete("")
@needs(Scope.ADMIN)
async def delete_all(
    request: Request, collection: Collection, context: ContextDep
) -> dict[str, Any]:
    """Forget everybody."""
    total = (await context.in_time(context.register.page(collection, 1, -1))).total
    await actions.delete_all(request, context, collection)
    return {"deleted": total}


def new_name(name: str) -> str:
    """Raises BadRequest: nobody can be called so."""
    if (problem := name_problem(name)) is not None:
        raise BadRequest(problem.replace("A name", "A subject", 1))
    if is_of_unnamed(name):
        raise BadRequest("id: and a number stands for people without a name; choose another one.")
    return name
