"""The id that a request carries through answers, logs and stages: Serve's ``X-Request-ID``.

Serve takes any value that a caller sends, and fails on bytes that are not UTF-8. So `middlewares`
replaces improper ids before Serve sees them. Serve finds it through the environment:
``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=serving.request_id:middlewares``.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

_HEADER = b"x-request-id"
# Common forms: UUIDs, hexadecimal, base64. No spaces, quotes or line breaks.
_PROPER = re.compile(rb"[A-Za-z0-9._:=+/-]{1,128}")

Headers = Sequence[tuple[bytes, bytes]]


def id_of(headers: Headers) -> str:
    """The caller's id if it sent exactly one proper one, else a new one."""
    sent = [value for name, value in headers if name == _HEADER]
    if len(sent) == 1 and _PROPER.fullmatch(sent[0]):
        return sent[0].decode()
    return str(uuid.uuid4())


class RequestIds:
    """ASGI middleware: every request has exactly one id, and a proper one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "headers" in scope:
            others = [(name, value) for name, value in scope["headers"] if name != _HEADER]
            proper = (_HEADER, id_of(scope["headers"]).encode())
            scope = {**scope, "headers": [*others, proper]}
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """The middleware that Serve puts around its own."""
    return [Middleware(RequestIds)]
