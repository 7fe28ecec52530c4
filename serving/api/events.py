"""Events of look-ups: who was identified, and that somebody unknown was seen."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from typing import Any

from fastapi import Request

from serving.api.context import Context
from serving.api.problems import request_id_of
from serving.errors import Unavailable
from serving.events.event import Event, event, sequence_of
from serving.pipeline.reports import Identified

# What an answer waits for its events, with `events.before_answer`.
_WAIT_S = 10.0


async def seen(
    request: Request, context: Context, collection: str, photos: Sequence[Identified]
) -> None:
    """Hand the events of an identification to the outbox, if the settings want any.

    Args:
        photos: as the caller learns of them.

    Raises:
        Unavailable: the answer has to wait for the events, and they cannot be written.
    """
    outbox = context.outbox
    if outbox is None:
        return
    settings = outbox.settings
    if settings.collections is not None and collection not in settings.collections:
        return
    about = {"key": request.state.key, "request_id": request_id_of(request)}
    found = events_of(collection, photos, settings.kinds, about, time.time())
    if not found:
        return
    written = outbox.add(found)
    if not settings.before_answer:
        return
    try:
        await asyncio.wait_for(asyncio.wrap_future(written), _WAIT_S)
    except asyncio.TimeoutError:
        raise Unavailable("The event of this look-up was not written in time.") from None


def events_of(
    collection: str,
    photos: Sequence[Identified],
    kinds: Sequence[str],
    about: dict[str, Any],
    now: float,
) -> list[Event]:
    """An event for each face with a name, and one for each photo with faces of strangers. A face
    that is too poor, that the model cannot tell between two people, or that is taken for an attack
    is neither.

    Args:
        about: goes into each.
        now: seconds since 1970.
    """
    events: list[Event] = []
    for number, photo in enumerate(photos):
        version = int(photo.matches.gallery_version)
        look_up = uuid.uuid4().hex
        common = {
            "gallery_version": version,
            "model": photo.card.id,
            "threshold": round(photo.threshold, 4),
            "photo": number,
            **about,
        }
        strangers = []
        for face, person in enumerate(photo.named):
            if person is None:
                doubtful = face in photo.ambiguous or face in photo.attacks
                if not photo.faults[face] and not doubtful:
                    strangers.append(face)
            elif "identified" in kinds:
                events.append(
                    event(
                        "identified",
                        collection,
                        key=[look_up, face],
                        time=now,
                        sequence=sequence_of(version),
                        data={**common, "face": face, "similarity": round(person.similarity, 4)},
                        person=person.id,
                    )
                )
        if strangers and "unknown" in kinds:
            events.append(
                event(
                    "unknown",
                    collection,
                    key=[look_up],
                    time=now,
                    sequence=sequence_of(version),
                    data={**common, "faces": strangers},
                )
            )
    return events
