"""Writes answers that may be large in a thread; the event loop stays free.

FastAPI checks and writes what a handler returns on the event loop: a hundred thousand candidates
would hold it for a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import Response
from pydantic import BaseModel


async def reply(make: Callable[[], BaseModel]) -> Response:
    """The JSON of what ``make`` makes; both in a thread."""
    body = await asyncio.to_thread(lambda: make().model_dump_json().encode())
    return Response(body, media_type="application/json")
