"""Who may ask what: keys, scopes, collections, and how much at once.

ASGI middleware in front of the routes, so that nobody who may not ask gets a byte of his body read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from serving.api.facts import note
from serving.api.middleware import browsers
from serving.api.middleware.rates import Rates
from serving.api.problems import problem_of
from serving.api.scopes import COLLECTIONS, WITHIN, WITHOUT, is_open, scope_for
from serving.errors import (
    BadRequest,
    Forbidden,
    Overloaded,
    ServingError,
    TooManyRequests,
    Unauthorized,
)
from serving.keys import Keys
from serving.settings import COLLECTION_PATTERN

NOBODY = "anonymous"


class Gate:
    """ASGI middleware. Notes the name of the caller's key and the collection that is asked for.

    Args:
        keys: None: nobody needs one.
        collection: the one that a path without a collection means.
        max_in_flight: requests that this replica works on at once; health is always told.
        hosts: names that the service is called by; None: any.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: Keys | None,
        collection: str,
        max_in_flight: int,
        hosts: Sequence[str] | None = None,
        rates: Rates | None = None,
    ) -> None:
        self._app = app
        self._keys = keys
        self._default = collection
        self._max_in_flight = max_in_flight
        self._hosts = hosts
        self._rates = rates or Rates()
        self._in_flight = 0

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return

        async def send_private(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # Who is enrolled is for him who asked, and for no cache on the way to him.
                headers["Cache-Control"] = "no-store"
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            refusal = browsers.refusal(
                scope["method"], Headers(scope=scope), self._hosts, self._keys is not None
            )
            if refusal is not None:
                raise _Refused(refusal)
            below, collection = self._collection_of(scope["path"])
            scope["root_path"] = scope.get("root_path", "") + below
            who = await self._who(scope, collection)
            with self._place():
                scope.setdefault("state", {}).update(key=who, collection=collection)
                note(Request(scope), key=who, collection=collection)
                await self._app(scope, receive, send_private)
        except _Refused as refused:
            answer = problem_of(Request(scope), refused.error)
            if isinstance(refused.error, Unauthorized):
                answer.headers["WWW-Authenticate"] = "Bearer"
            if refused.retry_after is not None:
                answer.headers["Retry-After"] = str(refused.retry_after)
            await answer(scope, receive, send_private)

    def _collection_of(self, path: str) -> tuple[str, str]:
        """What of the path says it, and the collection. Raises _Refused."""
        within = WITHIN.fullmatch(path)
        if within is None:
            return "", self._default
        if _NAME.fullmatch(within[2]) is None:
            told = "A collection's name is up to 63 small letters, digits and dashes."
            raise _Refused(BadRequest(told))
        return within[1], within[2]

    async def _who(self, scope: AsgiScope, collection: str) -> str:
        """The name of the caller's key. Raises _Refused."""
        if self._keys is None:
            return NOBODY
        presented = _presented(Headers(scope=scope))
        if presented is None:
            raise _Refused(Unauthorized("Send an API key: Authorization: Bearer KEY."))
        key = await self._keys.find(presented)
        if key is None:
            raise _Refused(Unauthorized("This API key is not valid."))
        note(Request(scope), key=key.name)  # also of what is refused
        if (wait := self._rates.take(key)) > 0:
            too_many = TooManyRequests(f"The key {key.name!r} may ask {key.rate:g} times a second.")
            raise _Refused(too_many, max(1, math.ceil(wait)))
        needed = scope_for(scope["method"], scope["path"])
        if not key.may(needed):
            raise _Refused(
                Forbidden(
                    f"The key {key.name!r} may not do this: it needs the scope {needed.value}."
                )
            )
        if scope["path"] == COLLECTIONS and key.collections is not None:
            raise _Refused(Forbidden(f"The key {key.name!r} may not see all collections."))
        if scope["path"] not in WITHOUT and not key.may_use(collection):
            raise _Refused(
                Forbidden(f"The key {key.name!r} may not use the collection {collection!r}.")
            )
        return key.name

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._in_flight >= self._max_in_flight:
            raise _Refused(Overloaded("Too many requests at once; try again in a moment."))
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1


_NAME = re.compile(COLLECTION_PATTERN)


class _Refused(Exception):
    """The gate's own answer; apart from errors that come out of the application."""

    def __init__(self, error: ServingError, retry_after: int | None = None) -> None:
        self.error = error
        self.retry_after = retry_after


def _presented(headers: Headers) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key")
