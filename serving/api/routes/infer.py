"""The HTTP API of identification: `/infer`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from serving.api import audit, bodies, examples, openapi
from serving.api.answers import infer_answer
from serving.api.context import Collection, ContextDep
from serving.api.facts import note
from serving.api.request_schemas import InferOptions, InferRequest
from serving.api.schemas import InferAnswer
from serving.api.scopes import needs
from serving.keys import Scope

router = APIRouter()


@router.post("/infer", openapi_extra=openapi.photo_body(InferRequest, InferOptions, "image"))
@openapi.shows(examples.INFER)
@needs(Scope.IDENTIFY)
async def infer(
    request: Request, response: Response, collection: Collection, context: ContextDep
) -> InferAnswer:
    """Identify every face in a photo."""
    timings = context.timings()

    async def work() -> InferAnswer:
        image, options = await timings.of("read", bodies.read_infer(request, context.limits))
        identified = await context.pipeline.identify(
            image,
            collection=collection,
            top_k=options.top_k,
            max_faces=options.max_faces,
            threshold=options.threshold,
            timings=timings,
        )
        context.metrics.identified(identified.matches.candidates, identified.named)
        if context.audit.identifications:
            audit.identified(request, [identified])
        return infer_answer(identified)

    answer = await context.in_time(work())
    note(request, faces=len(answer.faces))
    response.headers["Server-Timing"] = timings.header()
    return answer
