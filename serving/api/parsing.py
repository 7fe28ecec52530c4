"""Parses JSON and base64 of request bodies in threads; the event loop stays free."""

from __future__ import annotations

import asyncio
import base64
import binascii
import string
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from serving.errors import BadRequest, TooLarge
from serving.spelling import problem_of, shown
from serving.strict import Twice, check_keys

M = TypeVar("M", bound=BaseModel)

# A JSON body is parsed as a whole before it can be refused, and each value, however short, takes
# hundreds of bytes, and as an error thousands. So values are counted first: base64 has no commas.
JSON_VALUES = 10_000
_WHITESPACE = string.whitespace.encode()


def media_type(request: Request) -> str:
    """The Content-Type without its parameters, in small letters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def json_of(model: type[M], values: int = JSON_VALUES) -> Callable[[Request], Awaitable[M]]:
    """A dependency of a route: its JSON body, parsed in a thread.

    Raises:
        BadRequest: it is not JSON of this shape.
        TooLarge: it has more than ``values`` values.
    """

    async def read(request: Request) -> M:
        if media_type(request) != "application/json":
            raise BadRequest("Send JSON, and set Content-Type to application/json.")
        return await asyncio.to_thread(parse, model, await request.body(), values)

    return read


def parse(model: type[M], body: bytes, values: int = JSON_VALUES) -> M:
    """Parse JSON of the shape of ``model``. Raises BadRequest and TooLarge, as in `json_of`."""
    if body.count(b",") >= values:
        raise TooLarge(f"The JSON has more than {values} values, and no such request has so many.")
    try:
        parsed = model.model_validate_json(body)
        if body.count(b'\\"') >= JSON_VALUES:  # each takes time; names and metadata are short
            raise TooLarge(f"The JSON has {JSON_VALUES} escaped quotes, and no such request does.")
        check_keys(body)
    except ValidationError as error:
        raise BadRequest(problem_of(error, model, "this request")) from None
    except Twice as error:
        raise BadRequest(f"{shown(error.key)} is given twice in the JSON.") from None
    return parsed


async def decode_base64(images: Sequence[str]) -> list[bytes]:
    """Decode image files from base64 or data: URLs. Raises BadRequest."""
    return await asyncio.to_thread(lambda: [from_base64(image) for image in images])


def from_base64(text: str) -> bytes:
    """Decode base64, with or without line breaks, bare or as a data: URL. Raises BadRequest."""
    if text.startswith("data:"):
        header, _, text = text.partition(",")
        if not header.endswith(";base64"):
            raise BadRequest("A data: URL of an image must be base64.")
    try:
        return base64.b64decode(text.encode("ascii").translate(None, _WHITESPACE), validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(
            "The image is not base64; encode the bytes of the image file, e.g. with base64 -w0."
        ) from None
