"""The HTTP API of detection: `/detect`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from serving.api import bodies, examples, openapi
from serving.api.answers import detect_answer
from serving.api.context import ContextDep
from serving.api.replies import reply
from serving.api.request_schemas import DetectOptions, DetectRequest
from serving.api.schemas import DetectAnswer
from serving.api.scopes import About, needs
from serving.keys import Scope

router = APIRouter()


@router.post(
    "/detect",
    response_model=DetectAnswer,
    openapi_extra=openapi.photo_body(DetectRequest, DetectOptions, "image"),
)
@openapi.shows(examples.DETECT)
@needs(Scope.IDENTIFY, About.NO_COLLECTION)
async def detect(request: Request, context: ContextDep) -> Response:
    """Find the faces in a photo. Needs neither Triton nor the gallery."""
    timings = context.timings()

    async def work() -> Response:
        image, options = await timings.of("read", bodies.read_detect(request, context.limits))
        faces = await context.pipeline.faces(image, timings, options.max_faces)
        return await reply(lambda: detect_answer(faces, context.lookup))

    response = await context.in_time(work())
    response.headers["Server-Timing"] = timings.header()
    return response
