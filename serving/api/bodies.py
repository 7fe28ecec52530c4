"""Reads requests with photos: as JSON with base64, as a raw body, or as multipart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel

from serving.api.forms import boundary_of, read_form
from serving.api.memory import keep_photos
from serving.api.options import kinds_of, options_of, twice, values_of
from serving.api.parsing import body_of, decode_base64, media_type, other_type, parse
from serving.api.request_schemas import (
    DetectOptions,
    DetectRequest,
    GenerateLine,
    GenerateOptions,
    GenerateRequest,
    InferLine,
    InferOptions,
    InferRequest,
    VerifyOptions,
    VerifyRequest,
)
from serving.api.streams.single import REF, is_streamed, note_ref
from serving.errors import BadRequest, TooLarge, UnsupportedImage
from serving.reading.spelling import shown
from serving.settings import LimitSettings

M = TypeVar("M", bound=BaseModel)
W = TypeVar("W", bound=BaseModel)

_IMAGE_FIELDS = ("image", "images")
_PAIR_FIELDS = ("image_a", "image_b")


async def read_infer(request: Request, limits: LimitSettings) -> tuple[bytes, InferOptions]:
    """The image file and the options.

    Raises:
        BadRequest: not JSON of this shape, not base64, not one image, wrong options.
        TooLarge: more bytes than the settings allow.
        UnsupportedImage: a body of another type.
    """
    whole = InferLine if is_streamed(request) else InferRequest
    return await read_photo(request, limits, whole, InferOptions)


async def read_detect(request: Request, limits: LimitSettings) -> tuple[bytes, DetectOptions]:
    """The image file and the options; errors as in `read_infer`."""
    return await read_photo(request, limits, DetectRequest, DetectOptions)


async def read_verify(
    request: Request, limits: LimitSettings
) -> tuple[dict[str, bytes], VerifyOptions]:
    """The image files ``image_a`` and ``image_b``, and the options; errors as in `read_infer`."""
    return await read_pair(request, limits, VerifyRequest, VerifyOptions, _PAIR_FIELDS)


async def read_pair(
    request: Request,
    limits: LimitSettings,
    whole: type[BaseModel],
    options: type[M],
    names: tuple[str, str],
) -> tuple[dict[str, bytes], M]:
    """Two image files by the names of their fields, and the options; errors as in `read_infer`.

    Args:
        whole: the JSON body: the images, and what of ``options`` may be there.
        names: of the fields, in the order of the alphabet.
    """
    kind = media_type(request)
    if kind == "application/json":
        parsed = await _parsed(request, whole)
        encoded = [getattr(parsed, name) for name in names]
        images = dict(zip(names, await decode_base64(encoded), strict=True))
        given = _options(options, request, values=_given(parsed, names))
    elif kind == "multipart/form-data":
        files, fields = await _read_form(request, limits, names, options)
        files.sort()
        if [name for name, _ in files] != list(names):
            raise BadRequest(f"Send one file in the field {names[0]} and one in {names[1]}.")
        images = dict(files)
        given = _options(options, request, fields)
    else:
        raise UnsupportedImage(
            f"{other_type(request)} Send two photos, and set it to application/json or "
            "multipart/form-data."
        )
    for name, image in images.items():
        check_size(name, image, limits)
    keep_photos(request, images.values())
    return images, given


async def read_photo(
    request: Request,
    limits: LimitSettings,
    whole: type[BaseModel],
    options: type[M],
    names: Sequence[str] = _IMAGE_FIELDS,
) -> tuple[bytes, M]:
    """The image file and the options; errors as in `read_infer`.

    Args:
        whole: the JSON body: the image, and what of ``options`` may be there.
        names: of the image's field, in a form any of them.
    """
    kind = media_type(request)
    if kind == "application/json":
        parsed = await _parsed(request, whole)
        (image,) = await decode_base64([getattr(parsed, names[0])])
        given = _options(options, request, values=_given(parsed, names))
    elif kind == "multipart/form-data":
        files, fields = await _read_form(request, limits, names, options)
        if len(files) != 1:
            raise BadRequest(f"Send one file in the field {names[0]}.")
        image = files[0][1]
        given = _options(options, request, fields)
    else:
        image = await _raw(request, kind)
        given = _options(options, request)
    check_size("The image", image, limits)
    keep_photos(request, [image])
    return image, given


async def read_generate(
    request: Request, limits: LimitSettings
) -> tuple[list[bytes], GenerateOptions]:
    """The image files and the person they show; errors as in `read_infer`."""
    kind = media_type(request)
    if kind == "application/json":
        whole = GenerateLine if is_streamed(request) else GenerateRequest
        parsed = await _parsed(request, whole)
        _check_count(len(parsed.images), limits)
        images = await decode_base64([i.image for i in parsed.images])
        options = _options(GenerateOptions, request, values=_given(parsed, _IMAGE_FIELDS))
    elif kind == "multipart/form-data":
        files, fields = await _read_form(request, limits, _IMAGE_FIELDS[::-1], GenerateOptions)
        images = [image for _, image in files]
        options = _options(GenerateOptions, request, fields)
    else:
        images = [await _raw(request, kind)]
        options = _options(GenerateOptions, request)
    _check_count(len(images), limits)
    keep_photos(request, images)
    return images, options


def check_size(name: str, image: bytes, limits: LimitSettings) -> None:
    """Raises TooLarge if the image file has too many bytes."""
    if len(image) > limits.max_image_bytes:
        raise TooLarge(f"{name} has more than {limits.max_image_bytes / 2**20:g} MiB.")


def _check_count(images: int, limits: LimitSettings) -> None:
    if not images:
        raise BadRequest("Send at least one photo in images.")
    if images > limits.max_images:
        raise TooLarge(f"Send at most {limits.max_images} photos in one request.")


async def _raw(request: Request, kind: str) -> bytes:
    if not kind.startswith("image/") and kind != "application/octet-stream":
        raise UnsupportedImage(
            f"{other_type(request)} Set it to application/json, image/jpeg (or the image's type) "
            "or multipart/form-data."
        )
    return await body_of(request)


async def _read_form(
    request: Request, limits: LimitSettings, names: Sequence[str], options: type[BaseModel]
) -> tuple[list[tuple[str, bytes]], dict[str, str]]:
    """The files, each with its field, which must be one of ``names``; and the other fields, which
    are to be those of ``options``."""
    boundary = boundary_of(request.headers["content-type"])
    body = await body_of(request)
    texts = kinds_of(options)
    form = await asyncio.to_thread(read_form, boundary, body, limits.max_images, texts)
    for name, _ in form.files:
        if name in texts:
            raise BadRequest(
                f"{name} is no file: send its part without a filename and a Content-Type."
            )
        if name not in names:
            known = names[0] if set(names) == set(_IMAGE_FIELDS) else " or ".join(names)
            raise BadRequest(f"There is no field {shown(name)}; send the file in {known}.")
    fields: dict[str, str] = {}
    for name, text in form.fields:
        if name in names:
            raise BadRequest(f"{name} is a file: give its part a filename or a Content-Type.")
        if name in fields:
            raise twice(name, fields[name], text)
        fields[name] = text
    for name in form.as_json & fields.keys():
        if "string" in texts.get(name, ()):
            fields[name] = _unquoted(fields[name])
    return form.files, fields


def _unquoted(text: str) -> str:
    """A text that came as JSON, which some clients put between quotes and others do not."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text


async def _parsed(request: Request, whole: type[W]) -> W:
    """A JSON body; the name that a line of a stream has is noted."""
    parsed = await asyncio.to_thread(parse, whole, await body_of(request))
    if is_streamed(request):
        note_ref(request, getattr(parsed, REF, None))
    return parsed


def _given(parsed: BaseModel, names: Sequence[str]) -> dict[str, Any]:
    """The options in a JSON body, without the photos."""
    return parsed.model_dump(exclude={*names, REF}, exclude_unset=True)


def _options(
    model: type[M],
    request: Request,
    fields: Mapping[str, str] | None = None,
    values: Mapping[str, Any] | None = None,
) -> M:
    """Options from the query, and from the ``fields`` of a form or JSON's ``values``.

    Raises:
        BadRequest: see `serving.api.options`.
    """
    kinds = kinds_of(model)
    query = values_of(request.query_params.multi_items(), kinds)
    body = values_of(fields.items(), kinds) if fields else values or {}
    return options_of(model, query, body)
