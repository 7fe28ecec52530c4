"""Reading requests: images come as JSON with base64, as a raw body, or as multipart.

Parsing megabytes of JSON and base64 runs in threads; the event loop stays free.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from serving.errors import BadRequest, TooLarge, UnsupportedImage
from serving.problems import sentence_of
from serving.schemas import GenerateOptions, GenerateRequest, InferOptions, InferRequest
from serving.settings import LimitSettings

M = TypeVar("M", bound=BaseModel)

_IMAGE_FIELDS = ("image", "images")


async def read_infer(request: Request, limits: LimitSettings) -> tuple[bytes, InferOptions]:
    """The image file and the options.

    Raises:
        BadRequest: no JSON of this shape, no base64, not one image, wrong options.
        TooLarge: more bytes than the settings allow.
        UnsupportedImage: a body of another type.
    """
    kind = _media_type(request)
    if kind == "application/json":
        body = await request.body()
        asked = await asyncio.to_thread(_parse, InferRequest, body)
        images, options = (
            await _decode([asked.image]),
            InferOptions.model_validate(asked.model_dump(exclude={"image"})),
        )
    elif kind == "multipart/form-data":
        images, fields = await _read_form(request, limits)
        if len(images) != 1:
            raise BadRequest("Send one file in the field image.")
        options = _options(InferOptions, dict(request.query_params) | fields)
    else:
        images = [await _raw(request, kind)]
        options = _options(InferOptions, dict(request.query_params))
    if len(images[0]) > limits.max_image_bytes:
        raise TooLarge(f"The image has more than {limits.max_image_bytes / 2**20:g} MiB.")
    return images[0], options


async def read_generate(
    request: Request, limits: LimitSettings
) -> tuple[list[bytes], GenerateOptions]:
    """The image files and who they show; errors as in `read_infer`."""
    kind = _media_type(request)
    if kind == "application/json":
        body = await request.body()
        asked = await asyncio.to_thread(_parse, GenerateRequest, body)
        _check_count(len(asked.images), limits)
        images = await _decode([i.image for i in asked.images])
        options = GenerateOptions.model_validate(asked.model_dump(exclude={"images"}))
    elif kind == "multipart/form-data":
        images, fields = await _read_form(request, limits)
        options = _options(GenerateOptions, dict(request.query_params) | fields)
    else:
        images = [await _raw(request, kind)]
        options = _options(GenerateOptions, dict(request.query_params))
    _check_count(len(images), limits)
    return images, options


def _check_count(images: int, limits: LimitSettings) -> None:
    if not images:
        raise BadRequest("Send at least one photo in images.")
    if images > limits.max_images:
        raise _too_many(limits)


def _too_many(limits: LimitSettings) -> TooLarge:
    return TooLarge(f"Send at most {limits.max_images} photos in one request.")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _raw(request: Request, kind: str) -> bytes:
    if not kind.startswith("image/") and kind != "application/octet-stream":
        raise UnsupportedImage(
            "Set Content-Type to application/json, image/jpeg (or the image's type) or "
            "multipart/form-data."
        )
    return await request.body()


async def _read_form(request: Request, limits: LimitSettings) -> tuple[list[bytes], dict[str, Any]]:
    """Files of the image fields, and the other fields."""
    try:
        form: FormData = await request.form(max_files=limits.max_images, max_fields=32)
    except HTTPException as error:
        if error.detail.startswith("Too many files"):
            raise _too_many(limits) from error
        raise BadRequest(f"The multipart body cannot be read: {error.detail}") from error
    images: list[bytes] = []
    fields: dict[str, Any] = {}
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile) != (name in _IMAGE_FIELDS):
                raise BadRequest("Send files in the fields image or images, and text in others.")
            if isinstance(value, UploadFile):
                images.append(await value.read())
            else:
                fields[name] = value
    finally:
        await form.close()
    return images, fields


def _parse(model: type[M], body: bytes) -> M:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise BadRequest(sentence_of(error)) from None


def _options(model: type[M], fields: dict[str, Any]) -> M:
    """Options given as text, read as their JSON values are: 7 is a number, and 7.0 is no id."""
    values: dict[str, Any] = {}
    for name, text in fields.items():
        try:
            values[name] = text if name == "name" else json.loads(text)
        except (ValueError, RecursionError):  # the latter: thousands of brackets
            values[name] = text
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise BadRequest(sentence_of(error)) from None


async def _decode(images: Sequence[str]) -> list[bytes]:
    return await asyncio.to_thread(lambda: [_from_base64(image) for image in images])


def _from_base64(text: str) -> bytes:
    """Base64, in lines or not, bare or as a data: URL."""
    if text.startswith("data:"):
        header, _, text = text.partition(",")
        if not header.endswith(";base64"):
            raise BadRequest("A data: URL of an image must be base64.")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(
            "The image is not base64; encode the bytes of the image file, e.g. with base64 -w0."
        ) from None
