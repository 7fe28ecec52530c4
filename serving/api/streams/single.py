"""Each photo of a stream as the request that it would have been alone.

It goes through the whole application once more: keys, shares and rates, limits and deadline,
memory, traces, metrics, the access log, the audit and the events are those of a single request, and
so is the answer. A caller of the API cannot make such requests: they exist in this process only.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import Request
from starlette.types import ASGIApp, Message, Scope

from serving import deadline, tracing
from serving.api.problems import problem_of, request_id_of
from serving.api.streams.frames import Frame
from serving.errors import LASTING, ServingError, TooLarge

SUFFIX = "/stream"
# In `scope["state"]` of a single request of a stream, and then the caller's name of the photo.
STREAMED, REF = "streamed", "ref"

_COPIED = ("type", "asgi", "http_version", "scheme", "method", "query_string", "client", "server")
# Of the stream as a whole, or of its connection.
_DROPPED = (
    b"content-type",
    b"content-length",
    b"transfer-encoding",
    b"expect",
    b"connection",
    b"x-request-id",
    b"x-request-disconnect-disabled",
)
# An id may have 128 characters.
_ID_CHARACTERS = 110
# They pass by waiting, and nothing was done: they say when to come back.
_PASSING = (
    HTTPStatus.CONFLICT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
# They say so, too, but do not pass by waiting a minute.
_LASTING = {f"urn:faces:problem:{kind}" for kind in LASTING}


def is_streamed(request: Request) -> bool:
    """Whether this is a single request of a stream."""
    return STREAMED in request.scope.get("state", {})


def note_ref(request: Request, ref: str | None) -> None:
    """Note the caller's name of the photo, for its line."""
    request.scope["state"][REF] = ref


@dataclass
class Single:
    """The answer to a single request.

    Attributes:
        body: a JSON object.
        ref: the caller's name of the photo, as far as it was read.
    """

    status: int
    body: bytes
    ref: str | None
    headers: dict[bytes, bytes] = field(default_factory=dict)

    def pause_s(self) -> float | None:
        """Seconds after which another try may succeed; None: it is no use."""
        after = self.headers.get(b"retry-after", b"")
        if self.status not in _PASSING or not after.isdigit():
            return None
        return None if json.loads(self.body).get("type") in _LASTING else float(after)


class Singles:
    """Sends the frames of a stream as single requests.

    Args:
        app: the application, with its middleware.
        stream: the request of the stream.
        path: of the single requests, below the collection.
        timeout_s: for each photo, all of its tries together.
    """

    def __init__(
        self,
        app: ASGIApp,
        stream: Request,
        path: str,
        timeout_s: float,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._app = app
        self._stream = stream
        self._path = path
        self._timeout_s = timeout_s
        self._sleep = sleep

    async def answer(self, number: int, frame: Frame) -> Single:
        """The answer for a frame. What passes by waiting (429, 503) is waited for, until the time
        of the photo is over."""
        scope = self._scope(number, frame)
        if frame.body is None:
            return self._refused(scope, TooLarge(_TOO_LONG))
        until = time.monotonic() + self._timeout_s
        with deadline.until(until):
            while True:
                # For the line in the log, where the id is that of the stream.
                state = {STREAMED: True, "facts": {"index": number}}
                single = await self._once({**scope, "state": state}, frame)
                pause = single.pause_s()
                if pause is None:
                    return single
                # A little more, so that what was refused together does not come back together.
                pause += random.uniform(0, 0.25)
                if time.monotonic() + pause >= until:
                    return single
                await self._sleep(pause)

    async def _once(self, scope: Scope, frame: Frame) -> Single:
        status, headers, parts, sent = 500, {}, [], False

        async def receive() -> Message:
            nonlocal sent
            if sent:  # the stream notices that the client leaves, and cancels
                await asyncio.Event().wait()
            sent = True
            return {"type": "http.request", "body": frame.body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], dict(message.get("headers", []))
            else:
                parts.append(message.get("body", b""))

        try:
            await self._app(scope, receive, send)
        except Exception:
            # A bug, which is logged and answered; a server would note that it was there.
            if not parts:
                raise
        state: dict[str, Any] = scope["state"]
        return Single(status, b"".join(parts), state.get(REF) or frame.ref, headers)

    def _refused(self, scope: Scope, error: ServingError) -> Single:
        answer = problem_of(Request(scope), error)
        return Single(answer.status_code, bytes(answer.body), None)

    def _scope(self, number: int, frame: Frame) -> Scope:
        outer = self._stream.scope
        collection = outer["path"].removesuffix(self._path + SUFFIX)
        path = collection + self._path
        name = f"{request_id_of(self._stream)[:_ID_CHARACTERS]}.{number}"
        traces = {key.lower().encode(): text.encode() for key, text in tracing.carrier().items()}
        headers = [
            (key, value)
            for key, value in outer["headers"]
            if key not in _DROPPED and key not in traces
        ]
        length = b"%d" % len(frame.body or b"")
        return {
            **{key: outer[key] for key in _COPIED if key in outer},
            "path": path,
            "raw_path": path.encode(),  # a collection's name needs no escapes
            "root_path": outer.get("root_path", "").removesuffix(collection),
            "headers": [
                *headers,
                *traces.items(),
                (b"x-request-id", name.encode()),
                (b"content-type", frame.kind.encode("latin-1")),
                (b"content-length", length),
            ],
            "state": {"request_id": name},
        }


_TOO_LONG = (
    "This has more bytes than a photo and its options may have; the photos behind it are taken."
)


def line_of(number: int, single: Single) -> bytes:
    """The line of an answer: the answer itself, with its number and the caller's name before it."""
    first: dict[str, Any] = {"index": number}
    if single.ref is not None:
        first["ref"] = single.ref
    start = json.dumps(first, ensure_ascii=False, separators=(",", ":")).encode()
    return start[:-1] + b"," + single.body[1:] + b"\n"
