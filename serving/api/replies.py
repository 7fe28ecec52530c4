"""Writes answers that may be large in a thread; the event loop stays free.

FastAPI checks and writes what a handler returns on the event loop: a hundred thousand candidates
would hold it for a second.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from fastapi import Response
from pydantic import BaseModel


async def reply_json(make: Callable[[], Any], status: int = 200) -> Response:
    """The JSON of what ``make`` makes, plain values; both in a thread."""
    body = await asyncio.to_thread(lambda: json.dumps(make(), ensure_ascii=False).encode())
    return Response(body, status, media_type="application/json")


async def reply(make: Callable[[], BaseModel]) -> Response:
    """The JSON of what ``make`` makes; both in a thread."""
    body = await asyncio.to_thread(lambda: make().model_dump_json().encode())
    return Response(body, media_type="application/json")
