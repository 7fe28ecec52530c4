"""Reads whole bodies, and parses JSON and base64 in threads; the event loop stays free."""

from __future__ import annotations

import asyncio
import binascii
import re
import string
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from serving.api.memory import VALUE_BYTES, lease_of
from serving.errors import BadRequest, TooLarge, UnsupportedEncoding
from serving.reading.spelling import problem_of, shown
from serving.reading.strict import Twice, check_keys
from serving.vision.formats.kinds import format_of

M = TypeVar("M", bound=BaseModel)

# A JSON body is parsed as a whole before it can be refused, and each value, however short, takes
# hundreds of bytes, and as an error thousands. So values are counted first: base64 has no commas.
JSON_VALUES = 10_000
NDJSON = "application/x-ndjson"  # of a stream
# Headers that say how a body is read; of two the first would count without a word.
_ONCE = ("Content-Type", "Content-Encoding", "Inference-Header-Content-Length")
# RFC 7396 is what a PATCH means here: a missing field stays, null removes it.
_MERGE_PATCH = ("PATCH", "application/merge-patch+json")
_BOM = b"\xef\xbb\xbf"  # programs on Windows write it

_LINE_ENDS = b"\r\n"
# Both alphabets of RFC 4648, and line ends.
_BASE64 = string.ascii_letters.encode() + string.digits.encode() + b"+/-_" + _LINE_ENDS
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
# Decoded in pieces: each call holds the interpreter's lock, and the event loop waits for it.
_PIECE = 2**18
_BLANKS = " \t\r\n"
_BLANKS_INSIDE = "There are blanks in the base64: a + was lost on the way."
_NOT_BASE64 = "The image is not base64; encode the bytes of the image file, e.g. with base64 -w0."
_ADDRESS = re.compile(r"(?:https?|ftp|file|blob|s3|gs):", re.IGNORECASE)
_NOT_FETCHED = "The image is an address, and none is fetched; send the bytes of the file as base64."
# What else comes in place of base64 -> what to say of it. The first that fits counts.
_INSTEAD = (
    (
        re.compile(r"b(['\"]).*\1", re.DOTALL),
        "This is how Python prints bytes, with b'' around the base64; decode them to text first.",
    ),
    (re.compile(r"(['\"]).*\1", re.DOTALL), "There are quotes around the base64; leave them out."),
    (
        re.compile(r"[^%]*%(?:2[BF]|3D|0A).*", re.IGNORECASE | re.DOTALL),
        "The base64 is percent-encoded, as an address is; send it as it was before.",
    ),
    (
        re.compile(r"[^\\]*\\[nr].*", re.DOTALL),
        "There are backslashes in the base64, in place of line ends; leave them out.",
    ),
    (
        re.compile(r"[^\0\n]{1,1000}\.[A-Za-z]{3,5}"),
        "The image is the path of a file, and none is read here; send the bytes of the file as "
        "base64.",
    ),
)
_HEX = re.compile(r"(?:0x|\\\\?x)?(?:ffd8ff|89504e47)", re.IGNORECASE)
_IS_HEX = "The image is hexadecimal; encode the bytes of the image file as base64."
_DATA_URL = re.compile(r"data:([^,]*),", re.IGNORECASE)


def media_type(request: Request) -> str:
    """The Content-Type without its parameters, in small letters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def other_type(request: Request) -> str:
    """The start of a sentence that refuses the Content-Type: what it is, as the caller sent it."""
    kind = media_type(request)
    return f"The Content-Type is {shown(kind)}." if kind else "There is no Content-Type."


def check_headers(request: Request) -> None:
    """Check the headers that say how a body is read.

    Raises:
        UnsupportedEncoding: it has a Content-Encoding.
        BadRequest: one that says what it is comes twice.
    """
    for name in _ONCE:
        if len(given := dict.fromkeys(request.headers.getlist(name))) > 1:
            raise BadRequest(f"{name} is given twice, as {' and '.join(map(shown, given))}.")
    if request.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise UnsupportedEncoding("Send the body without a Content-Encoding.")


async def body_of(request: Request) -> bytes:
    """The whole body, which Starlette's own `Request.body` would keep until the answer.

    Raises:
        UnsupportedEncoding: see `check_headers`.
        BadRequest: its length is not what Content-Length says; or see `check_headers`.
    """
    check_headers(request)
    body = b"".join([part async for part in request.stream()])
    length = request.headers.get("content-length", "")
    if length.isdecimal() and length.lstrip("0") != str(len(body)).lstrip("0"):
        raise BadRequest(f"The body ended after {len(body)} bytes; Content-Length says {length}.")
    return body


def json_of(model: type[M], values: int = JSON_VALUES) -> Callable[[Request], Awaitable[M]]:
    """A dependency of a route: its JSON body, parsed in a thread.

    Raises:
        BadRequest: it is not JSON of this shape.
        TooLarge: it has more than ``values`` values.
        NoRoom: they find no room in the memory for bodies.
    """

    async def read(request: Request) -> M:
        kind = media_type(request)
        if kind != "application/json" and (request.method, kind) != _MERGE_PATCH:
            raise BadRequest(
                f"{other_type(request)} Send JSON, and set Content-Type to application/json."
            )
        lease = lease_of(request)

        def parsed(body: bytes) -> M:
            lease.take(VALUE_BYTES * body.count(b","))
            return parse(model, body, values)

        return await asyncio.to_thread(parsed, await body_of(request))

    return read


def parse(model: type[M], body: bytes, values: int = JSON_VALUES) -> M:
    """Parse JSON of the shape of ``model``. Raises BadRequest and TooLarge, as in `json_of`."""
    if not body.strip():
        raise BadRequest("The body is empty; send JSON.")
    if body.count(b",") >= values:
        raise TooLarge(f"The JSON has more than {values} values, and no such request has so many.")
    try:
        parsed = model.model_validate_json(body.removeprefix(_BOM))
        if body.count(b'\\"') >= JSON_VALUES:  # each takes time; names and metadata are short
            raise TooLarge(f"The JSON has {JSON_VALUES} escaped quotes, and no such request does.")
        check_keys(body)
    except ValidationError as error:
        if (kind := format_of(body)) is not None:
            raise BadRequest(
                f"The body is no JSON, but a {kind}: send it with its own Content-Type, or as "
                "base64 in JSON."
            ) from None
        if body.startswith(b"--"):
            raise BadRequest("The body is no JSON, but looks like a form.") from None
        if not _is_utf8(body):
            raise BadRequest("The body is not UTF-8; send JSON as UTF-8.") from None
        raise BadRequest(problem_of(error, model, "this request")) from None
    except Twice as error:
        raise BadRequest(f"{shown(error.key)} is given twice in the JSON.") from None
    return parsed


def _is_utf8(body: bytes) -> bool:
    if b"\0" in body[:4]:  # UTF-16 or UTF-32: the first two characters of JSON are ASCII
        return False
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


async def decode_base64(images: Sequence[str]) -> list[bytes]:
    """Decode image files from base64 or data: URLs. Raises BadRequest."""
    return await asyncio.to_thread(lambda: [from_base64(image) for image in images])


def from_base64(text: str) -> bytes:
    """Decode base64 or base64url, with or without padding and line ends, bare or as a data: URL.

    Raises:
        BadRequest: anything else is in it.
    """
    text = text.strip(_BLANKS)
    url = _DATA_URL.match(text)
    if url is not None:
        if not url[1].lower().endswith(";base64"):
            raise BadRequest("A data: URL of an image must be base64.")
        text = text[url.end() :].strip(_BLANKS)
    if _HEX.match(text):  # read as base64 it would be other bytes
        raise BadRequest(_IS_HEX)
    padding = len(text) - len(text.rstrip("=\r\n"))
    if padding:
        text, tail = text[:-padding], text[-padding:]
        padding = tail.count("=")
    decoded, rest = bytearray(), b""
    for at in range(0, len(text), _PIECE):
        piece = text[at : at + _PIECE].encode("utf-8", "replace")
        others = piece.translate(None, _BASE64)
        if others:
            if _ADDRESS.match(text):
                raise BadRequest(_NOT_FETCHED)
            if not others.strip(b" \t"):
                raise BadRequest(_BLANKS_INSIDE)
            sentences = (sentence for pattern, sentence in _INSTEAD if pattern.fullmatch(text))
            raise BadRequest(next(sentences, _NOT_BASE64))
        piece = rest + piece.translate(_TO_STANDARD, _LINE_ENDS)
        whole = len(piece) - len(piece) % 4
        decoded += binascii.a2b_base64(piece[:whole])
        rest = piece[whole:]
    lacking = -len(rest) % 4
    if lacking == 3 or padding not in (0, lacking):
        raise BadRequest(_NOT_BASE64)
    return bytes(decoded + binascii.a2b_base64(rest + b"=" * lacking))
