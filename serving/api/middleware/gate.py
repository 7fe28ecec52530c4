"""Checks keys, scopes, collections and rates, and limits the requests in flight.

ASGI middleware in front of the routes: no byte of the body of a refused request is read.
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

from serving.api import audit
from serving.api.audit import ANONYMOUS
from serving.api.facts import note
from serving.api.middleware import browsers
from serving.api.middleware.rates import Rates
from serving.api.problems import problem_of
from serving.api.scopes import About, RouteScopes, Target
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


class Gate:
    """ASGI middleware. Notes the name of the caller's key and the collection of the request.

    Args:
        routes: which scope each route needs.
        keys: None: no key is needed.
        collection: the one of a path that names none.
        max_in_flight: requests that this replica works on at once; open routes are always
            answered.
        hosts: names that the service is called by; None: any.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        routes: RouteScopes,
        keys: Keys | None,
        collection: str,
        max_in_flight: int,
        hosts: Sequence[str] | None,
        rates: Rates,
    ) -> None:
        self._app = app
        self._routes = routes
        self._keys = keys
        self._default = collection
        self._max_in_flight = max_in_flight
        self._hosts = hosts
        self._rates = rates
        self._in_flight = 0

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        target = self._routes.target(scope["method"], scope["path"])
        if target.is_open:
            await self._app(scope, receive, send)
            return

        async def send_private(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # Who is enrolled is for the caller alone, and for no cache on the way.
                headers["Cache-Control"] = "no-store"
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            refusal = browsers.refusal(
                scope["method"], Headers(scope=scope), self._hosts, self._keys is not None
            )
            if refusal is not None:
                raise _Refused(refusal)
            collection = self._collection_of(target)
            scope["root_path"] = scope.get("root_path", "") + target.prefix
            key_name = await self._key_name(scope, target, collection)
            with self._place():
                scope.setdefault("state", {}).update(key=key_name, collection=collection)
                note(Request(scope), key=key_name, collection=collection)
                await self._app(scope, receive, send_private)
        except _Refused as refused:
            if refused.error.status in (Unauthorized.status, Forbidden.status):
                key = refused.key_name
                audit.refused(Request(scope), target.collection or self._default, key)
            answer = problem_of(Request(scope), refused.error)
            if isinstance(refused.error, Unauthorized):
                answer.headers["WWW-Authenticate"] = "Bearer"
            if refused.retry_after is not None:
                answer.headers["Retry-After"] = str(refused.retry_after)
            await answer(scope, receive, send_private)

    def _collection_of(self, target: Target) -> str:
        """The name of the collection. Raises _Refused."""
        if target.collection is None:
            return self._default
        if _NAME.fullmatch(target.collection) is None:
            sentence = "A collection's name is up to 63 small letters, digits and dashes."
            raise _Refused(BadRequest(sentence))
        return target.collection

    async def _key_name(self, scope: AsgiScope, target: Target, collection: str) -> str:
        """The name of the caller's key. Raises _Refused."""
        if self._keys is None:
            return ANONYMOUS
        presented = _presented(Headers(scope=scope))
        if presented is None:
            raise _Refused(Unauthorized("Send an API key: Authorization: Bearer KEY."))
        key = await self._keys.find(presented)
        if key is None:
            raise _Refused(Unauthorized("This API key is not valid."))
        note(Request(scope), key=key.name)  # also when the request is refused
        if (wait := self._rates.take(key)) > 0:
            too_many = TooManyRequests(f"The key {key.name!r} may ask {key.rate:g} times a second.")
            raise _Refused(too_many, max(1, math.ceil(wait)))
        needed, about = target.access.scope, target.access.about
        if not key.may(needed):
            raise _Refused(
                Forbidden(
                    f"The key {key.name!r} may not do this: it needs the scope {needed.value}."
                ),
                key_name=key.name,
            )
        if about is About.ALL_COLLECTIONS and key.collections is not None:
            sentence = f"The key {key.name!r} may not see all collections."
            raise _Refused(Forbidden(sentence), key_name=key.name)
        if about is About.COLLECTION and not key.may_use(collection):
            sentence = f"The key {key.name!r} may not use the collection {collection!r}."
            raise _Refused(Forbidden(sentence), key_name=key.name)
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

    def __init__(
        self,
        error: ServingError,
        retry_after: int | None = None,
        key_name: str | None = None,
    ) -> None:
        self.error = error
        self.retry_after = retry_after
        self.key_name = key_name  # of a valid key


def _presented(headers: Headers) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key")
