"""The answer to a stream: a line of JSON for each photo, in their order, and a last one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

from fastapi import Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from serving.api.facts import note
from serving.api.forms import boundary_of
from serving.api.memory import lease_of
from serving.api.parsing import NDJSON, check_headers, media_type, other_type
from serving.api.problems import problem_of
from serving.api.streams.body import IDLE_S, UNBUFFERED, Body, ended
from serving.api.streams.frames import Frame, Lines, Parts, Splitter
from serving.api.streams.ordered import InOrder
from serving.api.streams.single import Single, Singles, line_of
from serving.errors import BadRequest, Forbidden, ServingError, Unauthorized, UnsupportedImage
from serving.settings import LimitSettings

FORM = "multipart/form-data"
# Some write it without the x; it is not registered either.
_LINES = (NDJSON, "application/ndjson", "application/jsonl")
# Beside an image: names, options and headers. As base64 it takes a third more, and some clients
# break its lines.
_BESIDE_BYTES = 2**16
# Refusals that all further photos would get, too.
_OF_ALL = (Unauthorized.status, Forbidden.status)
_DRAIN_S = 1.0


async def streamed(
    request: Request, limits: LimitSettings, path: str, *, forms: bool, at_once: int
) -> Response:
    """The answer to a stream, once its first photo has arrived.

    Args:
        path: of the single request for one photo or person.
        forms: parts of a form are taken, too, each of them for a photo.
        at_once: lines that are worked on; no more than a key may have under way.

    Raises:
        UnsupportedImage: the Content-Type is another one.
        BadRequest: nothing comes, or nothing that can be cut into photos.
        RequestTimeout, TooLarge, NoRoom: see `serving.api.streams.body.Body.next`.
        ClientDisconnect: the client has left.
    """
    check_headers(request)
    splitter = _splitter(request, limits, forms)
    singles = Singles(request.app, request, path, limits.timeout_s)
    at_once = max(1, min(at_once, int(limits.max_in_flight * limits.key_share)))
    answer = StreamedAnswer(request, singles.answer, at_once)
    body = Body(
        request.receive,
        splitter,
        lease_of(request),
        limits,
        busy=lambda: answer.busy,
        unbuffered=UNBUFFERED in request.scope["headers"],
    )
    try:
        first = await body.next()
        if first is None:
            raise BadRequest(f"The body is empty; send {_WHAT[forms]}.")
    except BaseException:
        await body.close()
        raise
    answer.begin(body, first)
    return answer


_WHAT = {
    False: f"a JSON object in each line ({NDJSON})",
    True: f"a JSON object in each line ({NDJSON}), or a form with a file for each photo",
}


def _splitter(request: Request, limits: LimitSettings, forms: bool) -> Splitter:
    kind = media_type(request)
    # A longer one has an image that is too large.
    image = limits.max_image_bytes * 3 // 2 + _BESIDE_BYTES
    most = min(limits.max_body_bytes, image) if forms else limits.max_body_bytes
    if kind in _LINES:
        return Lines(most, limits.max_body_bytes)
    if forms and kind == FORM:
        whole = request.headers["content-type"]
        return Parts(whole, boundary_of(whole), most, limits.max_body_bytes)
    raise UnsupportedImage(f"{other_type(request)} Send {_WHAT[forms]}.")


class StreamedAnswer(Response):
    """The lines, as they are ready.

    Args:
        single: answers a frame, by its number.
        at_once: frames that are taken and not answered.
        send_s: how long a client may read nothing.
    """

    media_type = NDJSON

    def __init__(
        self,
        request: Request,
        single: Callable[[int, Frame], Awaitable[Single]],
        at_once: int,
        send_s: float = IDLE_S,
    ) -> None:
        self.status_code = 200
        self.background = None
        # nginx would hold lines back; and the rest of a body that was not read must not be taken
        # for the next request.
        self.init_headers({"X-Accel-Buffering": "no", "Connection": "close"})
        self._request = request
        self._single = single
        self._send_s = send_s
        self._lines = self._errors = 0
        self._first: Frame | None = None
        self._ordered = InOrder(self._next, self._answered, at_once)

    def begin(self, body: Body, first: Frame) -> None:
        self._body, self._first = body, first

    @property
    def busy(self) -> bool:
        """Whether photos are under way."""
        return self._ordered.busy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leaving = asyncio.ensure_future(self._body.left())
        writing = asyncio.ensure_future(self._write(send))
        outcome = "given-up"
        try:
            await asyncio.wait({leaving, writing}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                outcome = await writing
        finally:
            await ended(writing)
            await ended(leaving)
            await self._body.close()
            note(self._request, lines=self._lines, errors=self._errors, stream=outcome)

    async def _write(self, send: Send) -> str:
        """Write all lines; returns how it ended."""

        async def write(line: bytes, more: bool = True) -> None:
            # A client that reads nothing for so long has left, or will never.
            message = {"type": "http.response.body", "body": line, "more_body": more}
            await asyncio.wait_for(send(message), self._send_s)

        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        try:
            problem = await self._write_lines(write)
            if problem is None:
                await write(self._last(None), more=False)
                return "done"
            await write(self._last(problem))
            await self._body.drain(_DRAIN_S)
            await write(b"", more=False)
            return "stopped"
        except (ClientDisconnect, asyncio.TimeoutError):
            return "given-up"

    async def _write_lines(self, write: Callable[[bytes], Awaitable[None]]) -> Any | None:
        """Write the lines of the photos; the problem for which there are no more, or None."""
        try:
            async with aclosing(self._ordered.results()) as results:
                async for single in results:
                    await write(line_of(self._lines, single))
                    self._lines += 1
                    self._errors += single.status >= 400
                    if single.status in _OF_ALL:
                        return json.loads(single.body)
        except ServingError as error:
            return json.loads(bytes(problem_of(self._request, error).body))
        return None

    def _last(self, problem: Any | None) -> bytes:
        last = {"done": problem is None, "lines": self._lines, "errors": self._errors}
        if problem is not None:
            last["problem"] = problem
        return json.dumps(last, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    async def _next(self) -> Frame | None:
        if (first := self._first) is not None:
            self._first = None
            return first
        return await self._body.next()

    async def _answered(self, number: int, frame: Frame) -> Single:
        return await self._single(number, frame)
