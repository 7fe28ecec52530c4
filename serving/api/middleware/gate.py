"""Checks keys, scopes, collections and rates, and limits the requests in flight.

ASGI middleware in front of the routes: no byte of the body of a refused request is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from serving.actor import acting
from serving.api import audit
from serving.api.audit import ANONYMOUS
from serving.api.facts import note
from serving.api.middleware import browsers
from serving.api.middleware.places import Places
from serving.api.middleware.rates import Rates
from serving.api.middleware.windows import Windows
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
from serving.keys import Key, Scope
from serving.pipeline.units import Meter, metered
from serving.settings import COLLECTION_RULE, is_collection
from serving.valid_keys import Keys


class Gate:
    """ASGI middleware. Notes the name of the caller's key and the collection of the request.

    Args:
        routes: which scope each route needs.
        keys: None: no key is needed.
        collection: the one of a path that names none.
        places: of the requests that this replica works on at once. Open routes need none: where
            keys are required, as many of them as one key may have are answered beside the others.
        windows: of the look-ups among them.
        hosts: names that the service is called by; None: any.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        routes: RouteScopes,
        keys: Keys | None,
        collection: str,
        places: Places,
        windows: Windows,
        hosts: Sequence[str] | None,
        rates: Rates,
    ) -> None:
        self._app = app
        self._routes = routes
        self._keys = keys
        self._default = collection
        self._places = places
        self._windows = windows
        self._hosts = hosts
        self._rates = rates
        self._open = 0

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        target = self._routes.target_of(scope)
        state = scope.setdefault("state", {})
        if target.is_open:
            state["knows"] = self._may_know(await self._known(scope))
        if target.is_open and (self._keys is None or scope["path"] in _ALIVE):
            await self._app(scope, receive, send)
            return

        async def send_private(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # Who is enrolled is for the caller alone, and for no cache on the way.
                headers["Cache-Control"] = "no-store"
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        if target.is_open:
            await self._answer_open(scope, receive, send)
            return
        try:
            refusal = browsers.refusal(
                scope["method"], Headers(scope=scope), self._hosts, self._keys is not None
            )
            if refusal is not None:
                raise _Refused(refusal)
            collection = self._collection_of(target)
            scope["root_path"] = scope.get("root_path", "") + target.prefix
            caller = await self._caller(scope, target, collection)
            name = ANONYMOUS if caller is None else caller.name
            state.update(caller=caller, knows=self._may_know(caller))
            streams = target.access.streams
            refuses = self._places.stream_refusal if streams else self._places.refusal
            refusal = refuses(name, alone=caller is None)
            looks_up = target.access.scope is Scope.IDENTIFY and not streams
            if refusal is None and looks_up:
                refusal = self._windows.refusal(name)
            if refusal is not None:
                raise _Refused(refusal)
            acts = acting(audit.who(name))
            place = self._places.streaming(name) if streams else self._places.taken(name)
            with place, self._metered(scope, caller) as meter, acts:
                state.update(key=name, collection=collection, streams=streams)
                note(Request(scope), key=name, collection=collection)
                with self._windows.taken(name, meter) if looks_up else nullcontext():
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
        if not is_collection(target.collection):
            raise _Refused(BadRequest(f"{COLLECTION_RULE.capitalize()}."))
        return target.collection

    async def _known(self, scope: AsgiScope) -> Key | None:
        """The caller's key, if it sent a valid one."""
        presented = _presented(Headers(scope=scope))
        if self._keys is None or len(presented) != 1:
            return None
        return await self._keys.find(*presented)

    def _may_know(self, key: Key | None) -> bool:
        """Whether a caller with this key may read what is said about the default collection."""
        return self._keys is None or (key is not None and key.may_use(self._default))

    async def _caller(self, scope: AsgiScope, target: Target, collection: str) -> Key | None:
        """The caller's key; None: none is needed. Raises _Refused."""
        if self._keys is None:
            return None
        presented = _presented(Headers(scope=scope))
        if not presented:
            raise _Refused(Unauthorized("Send an API key: Authorization: Bearer KEY."))
        if len(presented) > 1:  # as RFC 6750 has it; nobody could say by whose right it was done
            raise _Refused(BadRequest("The request has API keys that differ; send one of them."))
        key = await self._keys.find(*presented)
        if key is None:
            raise _Refused(Unauthorized("This API key is not valid."))
        note(Request(scope), key=key.name)  # also when the request is refused
        if (wait := self._rates.take(key)) > 0:
            too_many = TooManyRequests(
                f"The key {key.name!r} may ask {key.rate:g} times a second; photos of many pixels "
                "or faces, and many photos in one request, count for more than one."
            )
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
        return key

    @contextmanager
    def _metered(self, scope: AsgiScope, key: Key | None) -> Iterator[Meter]:
        """Count the work of the ``with`` for the caller's key."""
        meter = Meter(None if key is None else self._places.photos_of(key.name))
        try:
            with metered(meter):
                yield meter
        finally:
            note(Request(scope), units=meter.units)
            if key is not None:
                self._rates.spend(key, meter.units - 1)  # one was taken at the door

    async def _answer_open(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer a caller that needs no key, in a share of places that is not the keys'."""
        if self._open >= self._places.of_one:
            busy = Overloaded("Too many requests without a key at once; try again in a moment.")
            await problem_of(Request(scope), busy)(scope, receive, send)
            return
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1


# They answer at once, whatever else goes on, so they need no place.
_ALIVE = ("/healthz", "/v2/health/live")


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


def _presented(headers: Headers) -> set[str]:
    """The API keys in a request, whichever headers they come in."""
    parts = [value.partition(" ") for value in headers.getlist("authorization")]
    bearers = [token for kind, _, token in parts if kind.lower() == "bearer"]
    keys = (key.strip() for key in (*bearers, *headers.getlist("x-api-key")))
    return {key for key in keys if key}
