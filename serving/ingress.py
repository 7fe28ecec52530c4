"""The HTTP API; the only caller of the stages."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.middleware import Middleware

from serving import __version__, bodies, identities, problems
from serving.answers import generate_answer, image_reports, infer_answer
from serving.embed import Embedder
from serving.errors import TimedOut
from serving.freshness import Versions
from serving.gate import Gate
from serving.keys import Keys
from serving.naming import problem_of, threshold_of
from serving.pipeline import NoFaceInAny, Pipeline, Timings
from serving.records import GalleryStatus
from serving.register import Register
from serving.schemas import (
    GenerateAnswer,
    GenerateOptions,
    GenerateRequest,
    InferAnswer,
    InferOptions,
    InferRequest,
    Problem,
    Ready,
)
from serving.settings import (
    GallerySettings,
    KeySettings,
    LimitSettings,
    MatchSettings,
    TritonSettings,
)

T = TypeVar("T")

_DESCRIPTION = """\
Says for every face in a photo who it is, how sure it is and where the face is, or that it knows
nobody like that. Send photos as JSON with base64, as a raw `image/*` body, or as multipart.
"""


def build_api(
    pipeline: Pipeline,
    register: Register,
    limits: LimitSettings,
    matching: MatchSettings,
    keys: Keys | None = None,
    collection: str = "default",
) -> FastAPI:
    """The application.

    Args:
        keys: those that callers need; None: none.
        collection: the one of paths that name none.
    """
    guard = Middleware(problems.RequestGuard, max_body_bytes=limits.max_body_bytes)
    gate = Middleware(Gate, keys=keys, collection=collection, max_in_flight=limits.max_in_flight)
    api = FastAPI(
        title="Face identification",
        description=_DESCRIPTION,
        version=__version__,
        middleware=[guard, gate],
        redoc_url=None,
        responses={"default": {"model": Problem, "description": "RFC 9457 problem"}},
    )
    problems.install(api)

    async def in_time(work: Coroutine[Any, Any, T]) -> T:
        try:
            return await asyncio.wait_for(work, limits.timeout_s)
        except asyncio.TimeoutError:
            raise TimedOut(f"The answer took longer than {limits.timeout_s:g} s.") from None

    @api.post("/infer", openapi_extra=_body(InferRequest, InferOptions, "image"))
    async def infer(request: Request, response: Response) -> InferAnswer:
        """Identify every face in a photo."""
        timings = Timings()

        async def work() -> InferAnswer:
            image, options = await timings.of("read", bodies.read_infer(request, limits))
            found = await pipeline.identify(
                image, top_k=options.top_k, max_faces=options.max_faces, timings=timings
            )
            people = found.matches.people
            return infer_answer(
                found, threshold_of(options.threshold, matching, found.card, people)
            )

        answer = await in_time(work())
        response.headers["Server-Timing"] = timings.header()
        return answer

    @api.post("/generate", openapi_extra=_body(GenerateRequest, GenerateOptions, "images"))
    async def generate(request: Request, response: Response) -> GenerateAnswer:
        """Enrol a person: the largest face of each photo."""
        timings = Timings()

        async def work() -> GenerateAnswer:
            images, options = await timings.of("read", bodies.read_generate(request, limits))
            report = await pipeline.enrol(
                images,
                person=options.id,
                name=options.name,
                append=options.mode == "append",
                timings=timings,
            )
            return generate_answer(options.id, report)

        answer = await in_time(work())
        response.headers["Server-Timing"] = timings.header()
        return answer

    async def no_face(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, NoFaceInAny)
        reports = [report.model_dump() for report in image_reports(error.photos)]
        return problems.problem_of(request, error, images=reports)

    api.add_exception_handler(NoFaceInAny, no_face)

    api.include_router(identities.router(register, in_time))

    @api.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process answers; see /readyz for whether it can do its work."""
        return {"status": "ok"}

    @api.get("/readyz", responses={503: {"model": Ready}})
    async def readyz(response: Response) -> Ready:
        """Whether the stages are up, Triton serves the model and the gallery is loaded."""
        checks = await in_time(pipeline.ready())
        if checks["triton"] == "ok":
            checks["triton"] = problem_of(matching, await in_time(pipeline.card())) or "ok"
        gallery = checks["gallery"]
        loaded = isinstance(gallery, GalleryStatus) and gallery.loaded
        ready = loaded and checks["triton"] == checks["stages"] == "ok"
        response.status_code = 200 if ready else 503
        return Ready(ready=ready, checks=checks)

    return api


def _body(request: type[BaseModel], options: type[BaseModel], files: str) -> dict[str, Any]:
    """The three forms of a body for OpenAPI; FastAPI cannot derive them, since we read them."""
    binary = {"type": "string", "contentMediaType": "application/octet-stream"}
    many = files == "images"
    form = options.model_json_schema()
    form["properties"] = {
        **form["properties"],
        files: {"type": "array", "items": binary} if many else binary,
    }
    form["required"] = [*form.get("required", []), files]
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in options.model_json_schema()["properties"].items()
    ]
    return {
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _inlined(request)},
                "multipart/form-data": {"schema": form},
                "image/*": {"schema": binary},
            },
        },
    }


def _inlined(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema without references, which would point outside of OpenAPI's tree."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[node["$ref"].rpartition("/")[2]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(value) for value in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = resolve(schema)
    return resolved


class Ingress:
    """The deployment. Serve asks it for its ASGI application after the constructor."""

    def __init__(
        self,
        decode: Any,
        detect: Any,
        match: Any,
        triton: TritonSettings,
        gallery: GallerySettings,
        matching: MatchSettings,
        limits: LimitSettings,
        keys: KeySettings,
    ) -> None:
        embedder, versions = Embedder(triton), Versions(gallery)
        self._pipeline = Pipeline(decode, detect, match, embedder, versions, limits)
        self._register = Register(match, embedder, versions)
        self._limits = limits
        self._matching = matching
        self._keys = Keys(keys) if keys.required else None
        self._collection = gallery.collection

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_api(
            self._pipeline,
            self._register,
            self._limits,
            self._matching,
            self._keys,
            self._collection,
        )
