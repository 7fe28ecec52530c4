"""What several routes do alike: looking up, enrolling and deleting, with audit and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request

from serving.api import audit, events
from serving.api.context import Context
from serving.api.disclosure import Disclosure
from serving.api.facts import note
from serving.api.memory import CANDIDATE_BYTES, lease_of
from serving.pipeline.reports import EnrolmentReport, Identified
from serving.pipeline.timings import Timings


async def look_up(
    request: Request,
    context: Context,
    collection: str,
    disclosure: Disclosure,
    image: bytes,
    timings: Timings,
    *,
    top_k: int,
    max_faces: int | None,
    threshold: float | None = None,
    score: float = 0.0,
) -> Identified:
    """Identify the faces of an image file, as far as the caller may learn of it.

    Args:
        top_k, max_faces, threshold, score: see `serving.pipeline.pipeline.Pipeline.identify`.
    """
    identified = await context.pipeline.identify(
        image,
        collection=collection,
        top_k=top_k,
        max_faces=max_faces,
        threshold=threshold,
        timings=timings,
        score=score,
    )
    context.count(collection, identified)
    answered = disclosure.identified(identified)
    await audit.identified(request, context, [answered], [image])
    await events.seen(request, context, collection, [answered])
    candidates = sum(map(len, (*identified.matches.candidates, *identified.ambiguous.values())))
    lease_of(request).take(CANDIDATE_BYTES * candidates)
    note(request, faces=len(identified.faces))
    return answered


async def enrol(
    request: Request,
    context: Context,
    collection: str,
    images: Sequence[bytes],
    timings: Timings,
    *,
    person: int | None,
    name: str | None,
    append: bool,
    force: bool = False,
    retention: Mapping[str, Any] | None = None,
    only_face: float | None = None,
) -> EnrolmentReport:
    """Enrol a person from image files; see `serving.pipeline.pipeline.Pipeline.enrol`."""
    ids = [] if person is None else [person]
    with audit.change(request, "enrol", ids, lambda: "match" in timings.ms) as done:
        report = await context.pipeline.enrol(
            images,
            collection=collection,
            person=person,
            name=name,
            append=append,
            force=force,
            retention=retention,
            timings=timings,
            only_face=only_face,
        )
        if person is None and report.enrolled.id is not None:
            ids.append(report.enrolled.id)
        used = sum(photo.used for photo in report.photos)
        mode = "append" if append else "replace"
        done(report.enrolled.gallery_version, mode=mode, photos=used)
    return report


async def delete(request: Request, context: Context, collection: str, person: int) -> int:
    """Forget a person; returns the gallery's version."""
    with audit.change(request, "delete", [person]) as done:
        write = context.register.delete(collection, person)
        version = await context.in_time(write, writes=True)
        done(version)
    return version


async def delete_all(request: Request, context: Context, collection: str) -> int:
    """Forget everybody; returns the gallery's version."""
    with audit.change(request, "delete-all", []) as done:
        version = await context.in_time(context.register.delete_all(collection), writes=True)
        done(version)
    return version
