"""Refuses a request whose body finds no room in the memory for bodies.

A body that says its length is refused before it is read; of another, each part as it comes.
"""

from __future__ import annotations

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.memory import Lease, Memory, cost_of
from serving.api.parsing import media_type
from serving.api.problems import problem_of
from serving.errors import NoRoom


class Room:
    """ASGI middleware, behind the gate: takes memory for the body of each request, and gives it
    back with the answer. A stream takes memory itself, for what it has read.

    Args:
        max_body_bytes: the guard refuses a longer body.
    """

    def __init__(self, app: ASGIApp, memory: Memory, max_body_bytes: int) -> None:
        self._app = app
        self._memory = memory
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, state = Request(scope), scope.setdefault("state", {})
        caller = state.get("caller")
        lease = Lease(self._memory, None if caller is None else caller.name)
        state["lease"] = lease
        if state.get("streams"):
            try:
                await self._app(scope, receive, send)
            finally:
                lease.end()
            return
        kind, length = media_type(request), self._length(request)

        async def receive_counted() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                lease.take(cost_of(kind, len(message.get("body", b""))))
            return message

        try:
            lease.take(cost_of(kind, length or 0))
        except NoRoom as error:
            await problem_of(request, error)(scope, receive, send)
            return
        try:
            await self._app(scope, receive_counted if length is None else receive, send)
        finally:
            lease.end()

    def _length(self, request: Request) -> int | None:
        """The bytes that the body has; None: it does not say."""
        length = request.headers.get("content-length", "")
        if length.isascii() and length.isdigit():
            # The guard refuses a longer one as soon as it is asked for.
            return int(length) if len(length) < 18 and int(length) <= self._max_body_bytes else 0
        return None if "transfer-encoding" in request.headers else 0
