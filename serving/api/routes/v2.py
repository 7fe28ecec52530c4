"""The Open Inference Protocol v2 at `/v2`: the whole pipeline as one model.

https://github.com/kserve/open-inference-protocol, with Triton's binary tensor data extension.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from kserve.protocol.rest.v2_datamodels import (
    InferenceResponse,
    MetadataTensor,
    ModelMetadataResponse,
    ModelReadyResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
)
from pydantic import BaseModel

from serving import __version__
from serving.api import v2_codec
from serving.api.context import Collection, Context
from serving.api.facts import note
from serving.api.openapi import protocol_body
from serving.api.problems import PROTOCOL, request_id_of
from serving.api.v2_codec import INPUT, MODEL, OUTPUTS, VERSION, ProtocolRequest, photo_name
from serving.errors import BadRequest, Unavailable, UnknownModel
from serving.pipeline.gather import all_of
from serving.pipeline.pipeline import Pipeline
from serving.pipeline.readiness import what_is_missing
from serving.pipeline.reports import Identified
from serving.pipeline.timings import Timings
from serving.pipeline.verification import with_photo_name

ModelName = str

_EXTENSIONS = ["binary_tensor_data"]
_LENGTH = "Inference-Header-Content-Length"
# Photos of one request that are under way at once; others want to be served too.
_PHOTOS_AT_ONCE = 4


class ProtocolError(BaseModel):
    error: str


def router(context: Context) -> APIRouter:
    api = APIRouter(
        prefix=PROTOCOL,
        tags=["open inference protocol"],
        responses={"default": {"model": ProtocolError, "description": "error of the protocol"}},
    )
    pipeline = context.pipeline

    @api.get("")
    async def server() -> ServerMetadataResponse:
        """What serves here."""
        return ServerMetadataResponse(
            name="facenet-serving", version=__version__, extensions=_EXTENSIONS
        )

    @api.get("/health/live")
    async def live() -> ServerLiveResponse:
        """The process answers."""
        return ServerLiveResponse(live=True)

    @api.get("/health/ready")
    async def ready() -> ServerReadyResponse:
        """All that the model needs is there; as /readyz."""
        await context.in_time(_check_ready(pipeline))
        return ServerReadyResponse(ready=True)

    @api.get("/models/{name}")
    @api.get("/models/{name}/versions/{version}", include_in_schema=False)
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

    @api.get("/models/{name}/ready")
    @api.get("/models/{name}/versions/{version}/ready", include_in_schema=False)
    async def model_ready(name: ModelName, request: Request) -> ModelReadyResponse:
        """Whether the model can be asked now."""
        _check_model(request)
        await context.in_time(_check_ready(pipeline))
        return ModelReadyResponse(name=MODEL, ready=True)

    @api.post(
        "/models/{name}/infer",
        response_model=InferenceResponse,
        openapi_extra=protocol_body(ProtocolRequest),
    )
    @api.post("/models/{name}/versions/{version}/infer", include_in_schema=False)
    async def infer(name: ModelName, request: Request, collection: Collection) -> Response:
        """Identify every face in some photos; one row of the outputs is one face."""
        _check_model(request)
        timings = context.timings()
        answer = await context.in_time(_infer(request, collection, timings))
        answer.headers["Server-Timing"] = timings.header()
        return answer

    async def _infer(request: Request, collection: str, timings: Timings) -> Response:
        asked = await timings.of("read", _read(request))
        free = asyncio.Semaphore(_PHOTOS_AT_ONCE)

        async def identify(index: int, image: bytes) -> Identified:
            async with free:
                work = pipeline.identify(
                    image,
                    collection=collection,
                    top_k=1,
                    max_faces=asked.parameters.max_faces,
                    timings=timings,
                )
                return await with_photo_name(photo_name(index), work)

        found = await all_of(identify(n, image) for n, image in enumerate(asked.images))
        threshold = context.threshold(asked.parameters.threshold, found[0])
        for photo in found:
            context.metrics.identified(photo.matches.candidates, threshold)
        note(request, photos=len(found), faces=sum(len(photo.faces) for photo in found))
        body, json_length = v2_codec.answer(asked, found, threshold, request_id_of(request))
        if isinstance(body, bytes):
            headers = {_LENGTH: str(json_length)}
            return Response(body, media_type="application/octet-stream", headers=headers)
        return JSONResponse(body)

    async def _read(request: Request) -> v2_codec.Asked:
        if request.headers.get("content-encoding", "identity") != "identity":
            raise BadRequest("Send the body without a Content-Encoding.")
        body = await request.body()
        return await asyncio.to_thread(
            v2_codec.read, body, request.headers.get(_LENGTH), context.limits
        )

    return api


def _check_model(request: Request) -> None:
    path = request.path_params
    if (path["name"], path.get("version", VERSION)) != (MODEL, VERSION):
        raise UnknownModel(f"There is one model, {MODEL}, in version {VERSION}.")


async def _check_ready(pipeline: Pipeline) -> None:
    missing = what_is_missing(await pipeline.ready())
    if missing is not None:
        raise Unavailable(missing)
