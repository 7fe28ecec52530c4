"""The Open Inference Protocol v2 at `/v2`: the whole pipeline as one model.

https://github.com/kserve/open-inference-protocol, with Triton's binary tensor data extension.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from serving import __version__
from serving.api import audit, events, examples, openapi, v2_codec
from serving.api.context import Collection, Context, ContextDep, DisclosureDep, Knows
from serving.api.disclosure import Disclosure
from serving.api.facts import note
from serving.api.memory import keep_photos
from serving.api.parsing import body_of
from serving.api.problems import PROTOCOL, request_id_of
from serving.api.scopes import needs
from serving.api.v2_answers import (
    InferenceResponse,
    MetadataTensor,
    ModelMetadataResponse,
    ModelReadyResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
)
from serving.api.v2_codec import MODEL, OUTPUTS, VERSION, photo_name
from serving.api.v2_schemas import INPUT, ProtocolRequest
from serving.errors import Unavailable, UnknownModel
from serving.keys import Scope
from serving.pipeline.gather import all_of
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.readiness import what_is_missing
from serving.pipeline.reports import Identified
from serving.pipeline.timings import Timings
from serving.pipeline.verification import with_photo_name
from serving.settings import PHOTOS_AT_ONCE, LimitSettings

ModelName = str

_EXTENSIONS = ["binary_tensor_data"]
_LENGTH = "Inference-Header-Content-Length"
_BODY = openapi.protocol_body(ProtocolRequest)


class ProtocolError(BaseModel):
    error: str


router = APIRouter(
    prefix=PROTOCOL,
    tags=["open inference protocol"],
    responses={"default": {"model": ProtocolError, "description": "error of the protocol"}},
)


@router.get("")
@openapi.shows(examples.V2_SERVER)
@needs(Scope.IDENTIFY, is_open=True)
async def server() -> ServerMetadataResponse:
    """What serves here."""
    return ServerMetadataResponse(
        name="facenet-serving", version=__version__, extensions=_EXTENSIONS
    )


@router.get("/health/live")
@openapi.shows(examples.V2_LIVE)
@needs(Scope.IDENTIFY, is_open=True)
async def live() -> ServerLiveResponse:
    """The process answers."""
    return ServerLiveResponse(live=True)


@router.get("/health/ready")
@openapi.shows(examples.V2_READY)
@needs(Scope.IDENTIFY, is_open=True)
async def ready(context: ContextDep, knows: Knows) -> ServerReadyResponse:
    """All that the model needs is there; as /readyz."""
    await context.in_time(_check_ready(context.pipeline, knows))
    return ServerReadyResponse(ready=True)


@router.get("/models/{name}")
@router.get("/models/{name}/versions/{version}", include_in_schema=False)
@openapi.shows(examples.V2_METADATA)
@needs(Scope.IDENTIFY)
async def metadata(name: ModelName, request: Request) -> ModelMetadataResponse:
    """The model's inputs and outputs."""
    _check_model(request)
    return ModelMetadataResponse(
        name=MODEL,
        versions=[VERSION],
        platform="ray_serve",
        inputs=[MetadataTensor(name=INPUT, datatype="BYTES", shape=[-1])],
        outputs=[
            MetadataTensor(name=output, datatype=datatype, shape=shape)
            for output, (datatype, shape) in OUTPUTS.items()
        ],
    )


@router.get("/models/{name}/ready")
@router.get("/models/{name}/versions/{version}/ready", include_in_schema=False)
@openapi.shows(examples.V2_MODEL_READY)
@needs(Scope.IDENTIFY)
async def model_ready(
    name: ModelName, request: Request, context: ContextDep, knows: Knows
) -> ModelReadyResponse:
    """Whether the model can be asked now."""
    _check_model(request)
    await context.in_time(_check_ready(context.pipeline, knows))
    return ModelReadyResponse(name=MODEL, ready=True)


@router.post(
    "/models/{name}/infer",
    response_model=InferenceResponse,
    openapi_extra=_BODY,
)
@router.post(
    "/models/{name}/versions/{version}/infer", openapi_extra=_BODY, include_in_schema=False
)
@openapi.shows(examples.V2_INFER)
@needs(Scope.IDENTIFY)
async def infer(
    name: ModelName,
    request: Request,
    collection: Collection,
    context: ContextDep,
    disclosure: DisclosureDep,
) -> Response:
    """Identify every face in some photos; one row of the outputs is one face."""
    _check_model(request)
    timings = context.timings()
    answer = await context.in_time(_infer(context, request, collection, disclosure, timings))
    answer.headers["Server-Timing"] = timings.header()
    return answer


async def _infer(
    context: Context,
    request: Request,
    collection: str,
    disclosure: Disclosure,
    timings: Timings,
) -> Response:
    inference = await timings.of("read", _read(request, context.limits))
    free = asyncio.Semaphore(PHOTOS_AT_ONCE)

    async def identify(index: int, image: bytes) -> Identified:
        async with free:
            work = context.pipeline.identify(
                image,
                collection=collection,
                top_k=1,
                max_faces=inference.parameters.max_faces,
                threshold=inference.parameters.threshold,
                timings=timings,
            )
            return await with_photo_name(photo_name(index), work)

    photos = await all_of(identify(n, image) for n, image in enumerate(inference.images))
    for photo in photos:
        context.count(collection, photo)
    note(request, photos=len(photos), faces=sum(len(photo.faces) for photo in photos))
    disclosed = [disclosure.identified(photo) for photo in photos]
    await audit.identified(request, context, disclosed, inference.images)
    await events.seen(request, context, collection, disclosed)
    return await asyncio.to_thread(_answer, inference, disclosed, request_id_of(request))


def _answer(
    inference: v2_codec.Inference, photos: Sequence[Identified], request_id: str
) -> Response:
    """In a thread: thousands of faces take long to write."""
    body, json_length = v2_codec.answer(inference, photos, request_id)
    if isinstance(body, bytes):
        headers = {_LENGTH: str(json_length)}
        return Response(body, media_type="application/octet-stream", headers=headers)
    return JSONResponse(body)


async def _read(request: Request, limits: LimitSettings) -> v2_codec.Inference:
    body = await body_of(request)
    inference = await asyncio.to_thread(v2_codec.read, body, request.headers.get(_LENGTH), limits)
    keep_photos(request, inference.images)
    return inference


def _check_model(request: Request) -> None:
    path = request.path_params
    if (path["name"], path.get("version", VERSION)) != (MODEL, VERSION):
        raise UnknownModel(f"There is one model, {MODEL}, in version {VERSION}.")


async def _check_ready(pipeline: Pipeline, knows: bool) -> None:
    missing = what_is_missing(await pipeline.ready())
    if missing is not None:
        raise Unavailable(missing if knows else "The model is not ready.")
