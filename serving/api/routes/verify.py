"""The HTTP API of verification, two photos against one another: `/verify`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from serving.api import audit, bodies, examples, openapi
from serving.api.answers import verify_answer
from serving.api.context import ContextDep, DisclosureDep
from serving.api.request_schemas import VerifyOptions, VerifyRequest
from serving.api.schemas import VerifyAnswer
from serving.api.scopes import About, needs
from serving.keys import Scope
from serving.matching.threshold import pair_threshold_of
from serving.model.liveness import all_live
from serving.pipeline.verification import compare

router = APIRouter()


@router.post(
    "/verify",
    openapi_extra=openapi.photo_body(VerifyRequest, VerifyOptions, "image_a", "image_b"),
)
@openapi.shows(examples.VERIFY)
@needs(Scope.IDENTIFY, About.NO_COLLECTION)
async def verify(
    request: Request, response: Response, context: ContextDep, disclosure: DisclosureDep
) -> VerifyAnswer:
    """Whether two photos show the same person; the largest face of each. Needs no gallery."""
    timings = context.timings()

    async def work() -> VerifyAnswer:
        images, options = await timings.of("read", bodies.read_verify(request, context.limits))
        compared = await compare(context.pipeline, images, context.lookup, timings)
        threshold = pair_threshold_of(options.threshold, context.matching, compared.card)
        answer = verify_answer(*disclosure.compared(compared, threshold))
        told = answer.model_dump(include={"same", "similarity", "threshold", "model"})
        if not all_live(compared.liveness):
            told["not_live"] = True
        await audit.compared(request, context, list(images.values()), told)
        return answer

    answer = await context.in_time(work())
    response.headers["Server-Timing"] = timings.header()
    return answer
