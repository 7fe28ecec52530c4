"""CompreFace's routes for saved faces: `/api/v1/recognition/faces`. See docs/compreface.md."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field, RootModel

from serving.api import actions, audit, bodies, openapi
from serving.api.compreface.answers import listed
from serving.api.compreface.codes import PREFIX, MissingParameter, NoPictures
from serving.api.compreface.image_ids import image_id as image_id_of
from serving.api.compreface.image_ids import photo_of
from serving.api.compreface.options import ExampleOptions, FileRequest, page_of, score_of
from serving.api.context import Collection, Context, ContextDep
from serving.api.facts import note
from serving.api.parsing import json_of
from serving.api.replies import reply_json
from serving.api.scopes import anybody, needs
from serving.errors import (
    BadRequest,
    NoUsableFace,
    SeveralFaces,
    UnknownIdentity,
    UnknownPhoto,
    UnsupportedImage,
)
from serving.keys import Scope
from serving.matching.faces import FacesPage
from serving.matching.subjects import subject_of
from serving.pipeline.reports import NO_FACE, SEVERAL_FACES, NoFaceInAny, PhotoReport
from serving.reading.names import name_problem

router = APIRouter(prefix=PREFIX, include_in_schema=False)
_FACES = "/recognition/faces"

_MOST_FACES = 1000  # in one page
_NO_PICTURES = "This service keeps no pictures: of a photo it keeps the embedding alone."


class ImageIds(RootModel[list[str]]):
    root: list[str] = Field(max_length=_MOST_FACES)


IdsBody = Annotated[ImageIds, Depends(json_of(ImageIds))]
_EXAMPLE = openapi.photo_body(FileRequest, ExampleOptions, "file")


@router.get(_FACES)
@router.get(f"{_FACES}/")
@needs(Scope.ENROL)
async def faces(
    collection: Collection,
    context: ContextDep,
    page: str = "0",
    size: str = "20",
    subject: str | None = None,
) -> Response:
    """The saved faces, in pages, in the order of the people's ids."""
    number, most = page_of(page, size, _MOST_FACES)
    wanted = subject or None
    work = context.register.subjects.faces(collection, wanted, number * most, most)
    found = await context.in_time(work)
    return await reply_json(lambda: listed(found, number, most))


@router.post(_FACES, openapi_extra=_EXAMPLE)
@router.post(f"{_FACES}/", openapi_extra=_EXAMPLE)
@needs(Scope.ENROL)
async def add(request: Request, collection: Collection, context: ContextDep) -> Response:
    """Add the only face of a photo to a subject, who is new if need be."""
    timings = context.timings()

    async def work() -> Response:
        image, options = await timings.of(
            "read",
            bodies.read_photo(request, context.limits, FileRequest, ExampleOptions, ("file",)),
        )
        subject, score = _known_or_new(options.subject), score_of(options.det_prob_threshold)
        try:
            report = await actions.enrol(
                request,
                context,
                collection,
                [image],
                timings,
                person=None,
                name=subject,
                append=True,
                only_face=score,
            )
        except NoFaceInAny as error:
            raise _why_not(error.photos[0]) from error
        person, (photo,) = report.enrolled.id, report.enrolled.ids
        assert person is not None
        added = {"image_id": image_id_of(person, photo), "subject": subject}
        note(request, photos=1, used=1)
        return await reply_json(lambda: added, 201)

    answer = await context.in_time(work(), writes=True)
    answer.headers["Server-Timing"] = timings.header()
    return answer


@router.delete(_FACES)
@router.delete(f"{_FACES}/")
@needs(Scope.ADMIN)
async def delete_of(
    request: Request,
    collection: Collection,
    context: ContextDep,
    subject: Annotated[str | None, Query()] = None,
) -> dict[str, Any]:
    """Remove all faces of a subject, and with them the subject; without one those of everybody."""
    if subject is None:
        total = (await context.in_time(_page(context, collection, None))).total
        await actions.delete_all(request, context, collection)
        return {"deleted": total}
    if not subject:
        raise BadRequest("Give the subject; without the parameter all faces are removed.")
    person = await context.in_time(context.register.subjects.one(collection, subject))
    await actions.delete(request, context, collection, person.id)
    return {"deleted": person.photos}


@router.post(f"{_FACES}/delete", openapi_extra=openapi.json_body(ImageIds))
@needs(Scope.ADMIN)
async def delete_many(
    request: Request, collection: Collection, context: ContextDep, body: IdsBody
) -> list[dict[str, str]]:
    """Remove faces; those that are not there are passed over."""
    wanted: dict[int, list[str]] = {}
    for person, photo in dict.fromkeys(map(photo_of, body.root)):
        wanted.setdefault(person, []).append(photo)
    deleted: list[dict[str, str]] = []
    for person, photos in wanted.items():
        # Of one person all at once: each removal is a commit.
        with suppress(UnknownIdentity, UnknownPhoto):
            of = await context.in_time(context.register.photos(collection, person))
            held = {photo.id for photo in of.photos}
            there = [photo for photo in photos if photo in held]
            if there:
                deleted += await _remove(request, context, collection, person, there)
    return deleted


@router.delete(f"{_FACES}/{{image_id}}")
@needs(Scope.ADMIN)
async def delete_one(
    request: Request, collection: Collection, context: ContextDep, image_id: str
) -> dict[str, str]:
    """Remove one face; a subject without faces is gone."""
    person, photo = photo_of(image_id)
    (removed,) = await _remove(request, context, collection, person, [photo])
    return removed


@router.get(f"{_FACES}/{{image_id}}/img")
@needs(Scope.ENROL)
async def picture(image_id: str) -> Response:
    """There are no pictures."""
    photo_of(image_id)
    raise NoPictures(_NO_PICTURES)


# Open to anybody: its path has a key, which the log of a refusal would keep.
@router.get("/static/{key}/images/{image_id}")
@anybody
async def static_picture(key: str, image_id: str) -> Response:
    """There are no pictures."""
    raise NoPictures(_NO_PICTURES)


async def _remove(
    request: Request, context: Context, collection: str, person: int, photos: Sequence[str]
) -> list[dict[str, str]]:
    """Remove photos of a person; raises UnknownPhoto, of one of them."""
    subjects = context.register.subjects
    try:
        known, _ = await context.in_time(context.register.person(collection, person))
    except UnknownIdentity:
        raise UnknownPhoto(f"Image {image_id_of(person, photos[0])} not found") from None
    with audit.change(request, "remove", [person]) as done:
        write = subjects.remove(collection, person, photos)
        version = await context.in_time(write, writes=True)
        done(version, photos=len(photos))
    subject = subject_of(person, known.name)
    return [{"image_id": image_id_of(person, photo), "subject": subject} for photo in photos]


async def _page(context: Context, collection: str, subject: str | None) -> FacesPage:
    return await context.register.subjects.faces(collection, subject, 0, 0)


def _known_or_new(subject: str) -> str:
    """Raises BadRequest: nobody can be called so."""
    if not subject:
        raise MissingParameter("Required parameter 'subject' is not present")
    if (problem := name_problem(subject)) is not None:
        raise BadRequest(problem.replace("A name", "A subject", 1))
    return subject


def _why_not(photo: PhotoReport) -> Exception:
    """The error for a photo that was not used."""
    reason = photo.reason or NO_FACE
    if photo.gate == SEVERAL_FACES:
        return SeveralFaces("More than one face in the source image")
    if photo.gate is not None or reason == NO_FACE:
        return NoUsableFace(reason)
    return UnsupportedImage(reason)
