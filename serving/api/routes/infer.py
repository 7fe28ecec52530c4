"""The HTTP API of identification: `/infer`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from serving.api import bodies, examples, openapi
from serving.api.actions import look_up
from serving.api.answers import infer_answer
from serving.api.context import Collection, ContextDep, DisclosureDep
from serving.api.replies import reply
from serving.api.request_schemas import InferLine, InferOptions, InferRequest
from serving.api.schemas import InferAnswer
from serving.api.scopes import needs
from serving.api.streams.answer import streamed
from serving.keys import Scope
from serving.settings import PHOTOS_AT_ONCE

router = APIRouter()


@router.post(
    "/infer",
    response_model=InferAnswer,
    openapi_extra=openapi.photo_body(InferRequest, InferOptions, "image"),
)
@openapi.shows(examples.INFER)
@needs(Scope.IDENTIFY)
async def infer(
    request: Request, collection: Collection, context: ContextDep, disclosure: DisclosureDep
) -> Response:
    """Identify every face in a photo."""
    timings = context.timings()

    async def work() -> Response:
        image, options = await timings.of("read", bodies.read_infer(request, context.limits))
        answered = await look_up(
            request,
            context,
            collection,
            disclosure,
            image,
            timings,
            top_k=options.top_k,
            max_faces=options.max_faces,
            threshold=options.threshold,
        )
        return await reply(lambda: infer_answer(answered))

    response = await context.in_time(work())
    response.headers["Server-Timing"] = timings.header()
    return response


@router.post(
    "/infer/stream",
    response_class=Response,
    openapi_extra=openapi.stream(InferLine, InferOptions, InferAnswer, file="image"),
)
@openapi.shows(examples.INFER_STREAM)
@needs(Scope.IDENTIFY, streams=True)
async def infer_stream(request: Request, context: ContextDep) -> Response:
    """Identify every face in each of many photos: an answer of `/infer` for each, in their order,
    while the next ones are sent."""
    return await streamed(request, context.limits, "/infer", forms=True, at_once=PHOTOS_AT_ONCE)
