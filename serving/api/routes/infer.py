"""The HTTP API of identification: `/infer`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from serving.api import bodies, examples, openapi
from serving.api.actions import look_up
from serving.api.answers import infer_answer
from serving.api.context import Collection, ContextDep, DisclosureDep
from serving.api.replies import reply
from serving.api.request_schemas import InferOptions, InferRequest
from serving.api.schemas import InferAnswer
from serving.api.scopes import needs
from serving.keys import Scope

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
