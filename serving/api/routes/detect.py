"""The HTTP API of photos that no gallery is asked about: `/detect` and `/verify`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from serving.api import bodies, openapi
from serving.api.answers import detect_answer, verify_answer
from serving.api.context import Context
from serving.api.schemas import (
    DetectAnswer,
    DetectOptions,
    DetectRequest,
    VerifyAnswer,
    VerifyOptions,
    VerifyRequest,
)
from serving.pipeline.verification import compare


def router(context: Context) -> APIRouter:
    api, pipeline, limits = APIRouter(), context.pipeline, context.limits

    @api.post("/detect", openapi_extra=openapi.photo_body(DetectRequest, DetectOptions, "image"))
    async def detect(request: Request, response: Response) -> DetectAnswer:
        """Find the faces in a photo. Needs neither Triton nor the gallery."""
        timings = context.timings()

        async def work() -> DetectAnswer:
            image, options = await timings.of("read", bodies.read_detect(request, limits))
            faces = await pipeline.faces(image, timings)
            most = min(options.max_faces or len(faces), limits.max_faces)
            return detect_answer(faces.first(most))

        answer = await context.in_time(work())
        response.headers["Server-Timing"] = timings.header()
        return answer

    @api.post(
        "/verify",
        openapi_extra=openapi.photo_body(VerifyRequest, VerifyOptions, "image_a", "image_b"),
    )
    async def verify(request: Request, response: Response) -> VerifyAnswer:
        """Whether two photos show the same person; the largest face of each. Needs no gallery."""
        timings = context.timings()

        async def work() -> VerifyAnswer:
            images, options = await timings.of("read", bodies.read_verify(request, limits))
            compared = await compare(pipeline, images, timings)
            wanted = (
                options.threshold,
                context.matching.verify_threshold,
                compared.card.pairs.threshold,
            )
            return verify_answer(compared, next(t for t in wanted if t is not None))

        answer = await context.in_time(work())
        response.headers["Server-Timing"] = timings.header()
        return answer

    return api
