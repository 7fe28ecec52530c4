"""CompreFace's routes for photos: recognition, detection and verification. See
docs/compreface.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from serving.api import actions, audit, bodies, openapi
from serving.api.compreface import answers
from serving.api.compreface.codes import PREFIX
from serving.api.compreface.image_ids import photo_of
from serving.api.compreface.options import (
    FaceOptions,
    FileRequest,
    PairRequest,
    RecognizeOptions,
    VerifyOptions,
    predictions_of,
    wanted_of,
)
from serving.api.context import Collection, Context, ContextDep, DisclosureDep
from serving.api.disclosure import Disclosure
from serving.api.replies import reply_json
from serving.api.scopes import About, needs
from serving.errors import NoUsableFace
from serving.keys import Scope
from serving.matching.quality import lookup_faults
from serving.matching.threshold import pair_threshold_of
from serving.model.liveness import all_live
from serving.pipeline.reports import PhotoReport
from serving.pipeline.verification import Compared, compare_all

router = APIRouter(prefix=PREFIX, include_in_schema=False)

_PAIR = ("source_image", "target_image")
_NO_FACE = "No face is found in the given image"


@router.post(
    "/recognition/recognize",
    openapi_extra=openapi.photo_body(FileRequest, RecognizeOptions, "file"),
)
@needs(Scope.IDENTIFY)
async def recognize(
    request: Request, collection: Collection, context: ContextDep, disclosure: DisclosureDep
) -> Response:
    """Identify every face in a photo."""
    timings = context.timings()

    async def work() -> Response:
        image, options = await timings.of(
            "read",
            bodies.read_photo(request, context.limits, FileRequest, RecognizeOptions, ("file",)),
        )
        wanted, predictions = wanted_of(options), predictions_of(options.prediction_count)
        identified = await actions.look_up(
            request,
            context,
            collection,
            disclosure,
            image,
            timings,
            top_k=predictions,
            max_faces=wanted.limit,
            score=wanted.score,
        )
        if not len(identified.faces):
            raise NoUsableFace(_NO_FACE)
        return await reply_json(
            lambda: answers.recognized(identified, predictions, wanted, timings)
        )

    return await context.in_time(work())


@router.post(
    "/detection/detect", openapi_extra=openapi.photo_body(FileRequest, FaceOptions, "file")
)
@needs(Scope.IDENTIFY, About.NO_COLLECTION)
async def detect(request: Request, context: ContextDep) -> Response:
    """Find the faces in a photo."""
    timings = context.timings()

    async def work() -> Response:
        image, options = await timings.of(
            "read", bodies.read_photo(request, context.limits, FileRequest, FaceOptions, ("file",))
        )
        wanted = wanted_of(options)
        faces = await context.pipeline.faces(image, timings, wanted.limit, score=wanted.score)
        if not len(faces):
            raise NoUsableFace(_NO_FACE)
        return await reply_json(lambda: answers.detected(faces, wanted, timings))

    return await context.in_time(work())


@router.post(
    "/verification/verify", openapi_extra=openapi.photo_body(PairRequest, VerifyOptions, *_PAIR)
)
@needs(Scope.IDENTIFY, About.NO_COLLECTION)
async def verify(request: Request, context: ContextDep, disclosure: DisclosureDep) -> Response:
    """How alike the face of one photo is to each face of another."""
    timings = context.timings()

    async def work() -> Response:
        images, options = await timings.of(
            "read", bodies.read_pair(request, context.limits, PairRequest, VerifyOptions, _PAIR)
        )
        wanted = wanted_of(options)
        found = await compare_all(
            context.pipeline,
            images[_PAIR[0]],
            images[_PAIR[1]],
            context.lookup,
            timings,
            names=_PAIR,
            most=wanted.limit,
            score=wanted.score,
        )
        shown = await _shown(request, context, disclosure, found, list(images.values()))
        return await reply_json(lambda: answers.compared(shown, wanted, timings, source=True))

    return await context.in_time(work())


@router.post(
    "/recognition/faces/{image_id}/verify",
    openapi_extra=openapi.photo_body(FileRequest, VerifyOptions, "file"),
)
@needs(Scope.IDENTIFY)
async def verify_saved(
    request: Request,
    image_id: str,
    collection: Collection,
    context: ContextDep,
    disclosure: DisclosureDep,
) -> Response:
    """How alike each face of a photo is to an enrolled one."""
    timings = context.timings()
    person, photo = photo_of(image_id)

    async def work() -> Response:
        image, options = await timings.of(
            "read",
            bodies.read_photo(request, context.limits, FileRequest, VerifyOptions, ("file",)),
        )
        wanted = wanted_of(options)
        card = await context.pipeline.card()
        faces = await context.pipeline.faces(image, timings, wanted.limit, card, wanted.score)
        if not len(faces):
            raise NoUsableFace(_NO_FACE)
        extracted = await context.pipeline.extract([faces], timings)
        vectors = extracted.vectors
        saved = context.register.subjects.alike(collection, person, photo, vectors)
        cosines = np.clip(await timings.of("match", saved), -1, 1).tolist()
        poor = lookup_faults(faces, vectors, card, context.lookup)
        found = [
            Compared(
                (PhotoReport(faces.some([n]), faces.found, None),),
                cosine,
                card,
                (poor[n],),
                (extracted.liveness[n],),
            )
            for n, cosine in enumerate(cosines)
        ]
        shown = await _shown(request, context, disclosure, found, [image], [person])
        return await reply_json(lambda: answers.compared(shown, wanted, timings, source=False))

    return await context.in_time(work())


async def _shown(
    request: Request,
    context: Context,
    disclosure: Disclosure,
    found: Sequence[Compared],
    images: Sequence[bytes],
    ids: Sequence[int] = (),
) -> Sequence[Compared]:
    """The comparisons as the caller may learn of them, after the most similar one is recorded."""
    threshold = pair_threshold_of(None, context.matching, found[0].card)
    shown = [disclosure.compared(each, threshold) for each in found]
    best, threshold = max(shown, key=lambda each: (each[0].sufficient, each[0].similarity))
    told: dict[str, Any] = {
        "same": best.similarity >= threshold if best.sufficient else None,
        "similarity": round(best.similarity, 4) if best.sufficient else None,
        "threshold": threshold,
        "model": best.card.id,
    }
    if not all(all_live(each.liveness) for each, _ in shown):
        told["not_live"] = True
    await audit.compared(request, context, images, told, ids)
    return [each for each, _ in shown]
