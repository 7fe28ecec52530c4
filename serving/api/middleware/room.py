"""Refuses a request whose body finds no room in the memory for bodies, before it is read."""

from __future__ import annotations

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.api.memory import Lease, Memory, cost_of
from serving.api.parsing import media_type
from serving.api.problems import problem_of
from serving.errors import NoRoom


class Room:
    """ASGI middleware, behind the gate: takes memory for the body of each request, and gives it
    back with the answer.

    Args:
        max_body_bytes: counted for a body that does not say its length.
    """

    def __init__(self, app: ASGIApp, memory: Memory, max_body_bytes: int) -> None:
        self._app = app
        self._memory = memory
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, lease = Request(scope), Lease(self._memory)
        scope.setdefault("state", {})["lease"] = lease
        try:
            lease.take(cost_of(media_type(request), self._length(request)))
        except NoRoom as error:
            await problem_of(request, error)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            lease.end()

    def _length(self, request: Request) -> int:
        """The most bytes that the body can have; more are refused by the guard as they come."""
        length = request.headers.get("content-length", "")
        if length.isascii() and length.isdigit():
            # The guard refuses a longer one as soon as it is asked for.
            return int(length) if len(length) < 18 and int(length) <= self._max_body_bytes else 0
        return self._max_body_bytes if "transfer-encoding" in request.headers else 0
