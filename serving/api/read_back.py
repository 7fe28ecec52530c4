"""The person in an answer, read back after a write."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from serving.api.answers import identity_of
from serving.api.context import Context
from serving.api.schemas import IdentityAnswer
from serving.errors import NotReadBack, TimedOut, Unavailable
from serving.settings import MAX_ID

PersonPath = Annotated[int, Path(ge=0, le=MAX_ID, alias="id")]


async def read_back(
    context: Context, collection: str, person: int, written: int | None = None
) -> IdentityAnswer:
    """The person, as of now or, after a write, in the version that holds it or a later one."""
    register = context.register

    async def work() -> IdentityAnswer:
        card = await register.card()
        record, version = await register.person(collection, person, written)
        return IdentityAnswer(**identity_of(record, card.id).model_dump(), gallery_version=version)

    try:
        return await context.in_time(work())
    except (Unavailable, TimedOut) as error:
        if written is None:
            raise
        # What was committed stays: a failure to read it back must not look like one to write.
        sentence = f"It is written, as version {written} of the gallery, but cannot be read back."
        raise NotReadBack(f"{sentence} {error}") from error
