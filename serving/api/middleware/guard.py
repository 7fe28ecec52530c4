"""Limits a request's body and time, and notes its id."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import deadline
from serving.api.scopes import RouteScopes
from serving.api.uploads import Upload
from serving.errors import RequestTimeout, TooLarge
from serving.request_id import id_of
from serving.settings import LimitSettings

# The body's time ends a little before that of the answer, which else would be said to be late.
_BODY_SHARE = 0.99


class RequestGuard:
    """ASGI middleware: notes the request's id and its deadline, ends a body that is too long or
    too slow, answers HEAD.

    A stream has no such limits as a whole, but each of its photos, which come here as requests of
    their own (`serving.api.streams`).

    Serve gives every request an ``X-Request-ID``, or keeps the caller's, and sends it back; see
    `serving.request_id` for which it keeps.
    """

    def __init__(self, app: ASGIApp, limits: LimitSettings, routes: RouteScopes) -> None:
        self._app = app
        self._routes = routes
        self._limits = limits
        self._max_body_bytes = limits.max_body_bytes
        self._timeout_s = limits.timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope.setdefault("state", {})["request_id"] = id_of(scope["headers"])
        if self._routes.target_of(scope).access.streams:
            await self._app(scope, receive, send)
            return
        too_long = _exceeds(headers.get("content-length", ""), self._max_body_bytes)
        left, complete = self._max_body_bytes, False
        now = time.monotonic()
        left_s = self._timeout_s
        if (outer := deadline.current()) is not None:  # of a photo that is tried again
            left_s = max(0.0, min(left_s, outer - now))
        until, body_until = now + left_s, now + left_s * _BODY_SHARE
        upload = Upload(self._limits.min_upload_rate, self._limits.upload_grace_s)
        too_slow = False

        async def receive_limited() -> Message:
            nonlocal left, complete, too_slow
            # Before the body is read, if the request announces its length.
            if too_long:
                raise self._too_large()
            if complete:  # the next message is that the caller has gone
                return await receive()
            in_time, patience = body_until - time.monotonic(), upload.patience_s()
            start = time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), min(in_time, patience))
            except asyncio.TimeoutError:
                too_slow = True
                raise self._too_slow(patience < in_time) from None
            except asyncio.CancelledError:
                # The answer's time has ended, too, when the event loop is late.
                if time.monotonic() < body_until:
                    raise
                too_slow = True
                raise self._too_slow(dripping=False) from None
            complete = not message.get("more_body", False)
            if message["type"] == "http.request":
                size = len(message.get("body", b""))
                upload.received(size, time.monotonic() - start)
                left -= size
                if left < 0:
                    raise self._too_large()
            return message

        async def send_closing(message: Message) -> None:
            if too_slow and message["type"] == "http.response.start":
                # The rest of the body would hold the connection.
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send_closing(message)

        with deadline.until(until):
            if scope["method"] != "HEAD":
                await self._app(scope, receive_limited, send_closing)
                return
            # What answers GET answers HEAD; FastAPI would refuse it.
            get = {**scope, "method": "GET"}
            try:
                await self._app(get, receive_limited, send_head)
            finally:
                scope["route"] = get.get("route")  # for `Access`

    def _too_slow(self, dripping: bool) -> RequestTimeout:
        if dripping:
            return RequestTimeout(
                "The body arrives too slowly: it needs "
                f"{self._limits.min_upload_rate:g} bytes a second."
            )
        return RequestTimeout(f"The request did not arrive within {self._timeout_s:g} s.")

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The request has more than {self._max_body_bytes / 2**20:g} MiB.")


def _exceeds(length: str, most: int) -> bool:
    """Whether a Content-Length exceeds the limit. A value that is not a number is left to the
    server."""
    if not (length.isascii() and length.isdigit()):
        return False
    # int() of a long text takes long, or fails.
    return len(length) > 18 or int(length) > most
