"""The HTTP API of enrolment: `/generate`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from serving.api import bodies, examples, openapi
from serving.api.actions import enrol
from serving.api.answers import generate_answer
from serving.api.context import Collection, ContextDep
from serving.api.facts import note
from serving.api.request_schemas import GenerateLine, GenerateOptions, GenerateRequest
from serving.api.retention import retention_of
from serving.api.schemas import GenerateAnswer
from serving.api.scopes import needs
from serving.api.streams.answer import streamed
from serving.keys import Scope

router = APIRouter()


@router.post(
    "/generate", openapi_extra=openapi.photo_body(GenerateRequest, GenerateOptions, "images")
)
@openapi.shows(examples.GENERATE)
@needs(Scope.ENROL)
async def generate(
    request: Request, response: Response, collection: Collection, context: ContextDep
) -> GenerateAnswer:
    """Enrol a person: the largest face of each photo."""
    timings = context.timings()

    async def work() -> GenerateAnswer:
        images, options = await timings.of("read", bodies.read_generate(request, context.limits))
        retention = retention_of(options)
        report = await enrol(
            request,
            context,
            collection,
            images,
            timings,
            person=options.id,
            name=options.name,
            append=options.mode == "append",
            force=options.force,
            retention=retention,
        )
        return generate_answer(options.id, report)

    answer = await context.in_time(work(), writes=True)
    note(request, photos=len(answer.images), used=sum(i.used for i in answer.images))
    response.headers["Server-Timing"] = timings.header()
    return answer


@router.post(
    "/generate/stream",
    response_class=Response,
    openapi_extra=openapi.stream(
        GenerateLine, GenerateOptions, GenerateAnswer, of_each=("id", "name")
    ),
)
@openapi.shows(examples.GENERATE_STREAM)
@needs(Scope.ENROL, streams=True)
async def generate_stream(request: Request, context: ContextDep) -> Response:
    """Enrol many people: an answer of `/generate` for each, in their order, while the next ones are
    sent."""
    # One after the other: a line may be about the person of the line before it.
    return await streamed(request, context.limits, "/generate", forms=False, at_once=1)
