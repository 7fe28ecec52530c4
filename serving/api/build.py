"""The HTTP application: middleware, routes and error answers put together."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.middleware import Middleware

from serving import __version__
from serving.api import audit, bodies, openapi, problems
from serving.api.answers import conflict_bodies, generate_answer, image_reports, infer_answer
from serving.api.context import Collection, Context
from serving.api.facts import note
from serving.api.middleware.access import Access
from serving.api.middleware.gate import Gate
from serving.api.middleware.guard import RequestGuard
from serving.api.routes import console as page
from serving.api.routes import detect as photos
from serving.api.routes import duplicates, identities, v2
from serving.api.schemas import (
    CollectionBody,
    CollectionsAnswer,
    GenerateAnswer,
    GenerateOptions,
    GenerateRequest,
    InferAnswer,
    InferOptions,
    InferRequest,
    Problem,
    Ready,
)
from serving.keys import Keys
from serving.matching.threshold import threshold_problem
from serving.pipeline.identities import Identities
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.readiness import what_is_missing
from serving.pipeline.reports import ConflictsRefused, NoFaceInAny
from serving.pipeline.verification import NoFaceToCompare
from serving.settings import (
    LimitSettings,
    MatchSettings,
)
from serving.telemetry.metrics import ApiMetrics

_DESCRIPTION = """\
Says for every face in a photo who it is, how sure it is and where the face is, or that it knows
nobody like that. Send photos as JSON with base64, as a raw `image/*` body, or as multipart.

Who is enrolled belongs to a collection: `/collections/{name}` before `/infer`, `/generate`,
`/identities`, `/duplicates` and `/v2` chooses it, and without it the default one is meant. With API
keys: `Authorization: Bearer KEY`.
"""


def build_api(
    pipeline: Pipeline,
    register: Identities,
    limits: LimitSettings,
    matching: MatchSettings,
    metrics: ApiMetrics,
    keys: Keys | None = None,
    collection: str = "default",
    console: bool = True,
    hosts: Sequence[str] | None = None,
) -> FastAPI:
    """The application.

    Args:
        keys: those that callers need; None: none.
        collection: the one of paths that name none.
        console: serve the page for people.
        hosts: names that the service is called by; None: any.
    """
    context = Context(pipeline, register, limits, matching, metrics)
    guard = Middleware(
        RequestGuard,
        max_body_bytes=limits.max_body_bytes,
        timeout_s=limits.timeout_s,
    )
    access = Middleware(Access, metrics=metrics)
    gate = Middleware(
        Gate,
        keys=keys,
        collection=collection,
        max_in_flight=limits.max_in_flight,
        hosts=hosts,
    )
    api = FastAPI(
        title="Face identification",
        description=_DESCRIPTION,
        version=__version__,
        middleware=[access, guard, gate],
        servers=[
            {"url": "/", "description": "the default collection"},
            {
                "url": "/collections/{name}",
                "description": "another collection; only for what is about a gallery",
                "variables": {"name": {"default": "default"}},
            },
        ],
        redoc_url=None,
        # It would send callers to whatever host they name themselves.
        redirect_slashes=False,
        responses={"default": {"model": Problem, "description": "RFC 9457 problem"}},
    )
    problems.install(api)
    openapi.install(api, keys is not None)

    @api.post("/infer", openapi_extra=openapi.photo_body(InferRequest, InferOptions, "image"))
    async def infer(request: Request, response: Response, collection: Collection) -> InferAnswer:
        """Identify every face in a photo."""
        timings = context.timings()

        async def work() -> InferAnswer:
            image, options = await timings.of("read", bodies.read_infer(request, limits))
            found = await pipeline.identify(
                image,
                collection=collection,
                top_k=options.top_k,
                max_faces=options.max_faces,
                timings=timings,
            )
            threshold = context.threshold(options.threshold, found)
            metrics.identified(found.matches.candidates, threshold)
            return infer_answer(found, threshold)

        answer = await context.in_time(work())
        note(request, faces=len(answer.faces))
        response.headers["Server-Timing"] = timings.header()
        return answer

    @api.post(
        "/generate", openapi_extra=openapi.photo_body(GenerateRequest, GenerateOptions, "images")
    )
    async def generate(
        request: Request, response: Response, collection: Collection
    ) -> GenerateAnswer:
        """Enrol a person: the largest face of each photo."""
        timings = context.timings()

        async def work() -> GenerateAnswer:
            images, options = await timings.of("read", bodies.read_generate(request, limits))
            ids = [options.id]
            with audit.change(request, "enrol", ids, lambda: "match" in timings.ms) as done:
                report = await pipeline.enrol(
                    images,
                    collection=collection,
                    person=options.id,
                    name=options.name,
                    append=options.mode == "append",
                    force=options.force,
                    timings=timings,
                )
                used = sum(photo.used for photo in report.photos)
                done(report.enrolled.gallery_version, mode=options.mode, photos=used)
            return generate_answer(options.id, report)

        answer = await context.in_time(work(), writes=True)
        note(request, photos=len(answer.images), used=sum(i.used for i in answer.images))
        response.headers["Server-Timing"] = timings.header()
        return answer

    async def no_face(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, NoFaceInAny | NoFaceToCompare)
        reports = [report.model_dump() for report in image_reports(error.photos)]
        return problems.problem_of(request, error, images=reports)

    async def conflicting(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ConflictsRefused)
        images = [report.model_dump() for report in image_reports(error.photos)]
        found = [c.model_dump() for c in conflict_bodies(error.conflicts, error.photos)]
        return problems.problem_of(request, error, images=images, conflicts=found)

    api.add_exception_handler(ConflictsRefused, conflicting)
    api.add_exception_handler(NoFaceInAny, no_face)
    api.add_exception_handler(NoFaceToCompare, no_face)

    api.include_router(photos.router(context))
    api.include_router(v2.router(context))
    api.include_router(identities.router(context))
    api.include_router(duplicates.router(context))
    if console:
        api.include_router(page.router())

    @api.get("/collections")
    async def collections() -> CollectionsAnswer:
        """The collections in which somebody is or was enrolled. One begins with the first
        enrolment below `/collections/{name}`."""
        found = await context.in_time(register.collections())
        told = [CollectionBody(name=name, models=models) for name, models in found.items()]
        return CollectionsAnswer(collections=told)

    @api.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process answers; see /readyz for whether it can do its work."""
        return {"status": "ok"}

    @api.get("/readyz", responses={503: {"model": Ready}})
    async def readyz(response: Response) -> Ready:
        """Whether the stages are up, Triton serves the model and the gallery is loaded."""
        checks = await context.in_time(pipeline.ready())
        if checks["triton"] == "ok":
            card = await context.in_time(pipeline.card())
            checks["triton"] = threshold_problem(matching, card) or "ok"
        ready = what_is_missing(checks) is None
        response.status_code = 200 if ready else 503
        return Ready(ready=ready, checks=checks)

    return api
