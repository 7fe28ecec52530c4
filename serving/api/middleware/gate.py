"""Who may ask what: keys, scopes, collections, and how much at once.

ASGI middleware in front of the routes, so that nobody who may not ask gets a byte of his body read.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from serving.api.facts import note
from serving.api.middleware import browsers
from serving.api.problems import problem_of
from serving.errors import (
    BadRequest,
    Forbidden,
    Overloaded,
    ServingError,
    TooManyRequests,
    Unauthorized,
)
from serving.keys import Key, Keys, Scope
from serving.settings import COLLECTION_PATTERN

NOBODY = "anonymous"

# By method and path (without the collection); the first that fits counts. What fits none is for
# admins: a route that somebody forgets here is closed, not open.
_OPEN = re.compile(
    r"/(healthz|readyz|console/[\w.-]+|docs|docs/.*|openapi\.json|v2|v2/health/(live|ready))?"
)
_RULES: tuple[tuple[frozenset[str], re.Pattern[str], Scope], ...] = tuple(
    (frozenset(methods.split()), re.compile(path), scope)
    for methods, path, scope in (
        ("POST", r"/(infer|verify|detect)", Scope.IDENTIFY),
        ("GET POST", r"/v2/.*", Scope.IDENTIFY),
        ("POST", r"/generate", Scope.ENROL),
        ("GET", r"/identities(/[^/]+)?", Scope.ENROL),
        ("GET", r"/duplicates", Scope.ENROL),
        ("PATCH", r"/identities/[^/]+", Scope.ENROL),
        ("POST", r"/identities/[^/]+/(merge|embeddings)", Scope.ENROL),
        ("DELETE", r"/identities(/[^/]+)?", Scope.ADMIN),
    )
)
_COLLECTIONS = "/collections"
# What is about a gallery, and so can be asked of a collection.
_WITHIN = re.compile(
    rf"({_COLLECTIONS}/([^/]+))/(infer|generate|identities|identities/.*|duplicates|v2/.*)"
)
# What is about no gallery, and so may be asked with a key of any collection.
_WITHOUT = ("/detect", "/verify")


def is_open(method: str, path: str) -> bool:
    """Whether anybody may ask, key or no key: whether the service is up, its description, and the
    console, which holds no data."""
    return method in ("GET", "HEAD") and _OPEN.fullmatch(path) is not None


def scope_for(method: str, path: str) -> Scope:
    """The scope that a key needs for this request."""
    within = _WITHIN.fullmatch(path)
    path = path.removeprefix(within[1]) if within else path
    method = "GET" if method == "HEAD" else method
    for methods, pattern, scope in _RULES:
        if method in methods and pattern.fullmatch(path):
            return scope
    return Scope.ADMIN


@dataclass
class _Bucket:
    """A token bucket that holds one second's worth."""

    tokens: float
    filled: float


@dataclass
class Rates:
    """How often each key may ask, on this replica."""

    clock: Callable[[], float] = time.monotonic
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def take(self, key: Key) -> float:
        """Count one request; 0, or the seconds after which the key may ask again."""
        if key.rate is None:
            return 0.0
        now, burst = self.clock(), max(1.0, key.rate)
        bucket = self._buckets.setdefault(key.name, _Bucket(burst, now))
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.filled) * key.rate)
        bucket.filled = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / key.rate
        bucket.tokens -= 1
        return 0.0


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
        within = _WITHIN.fullmatch(path)
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
        if scope["path"] == _COLLECTIONS and key.collections is not None:
            raise _Refused(Forbidden(f"The key {key.name!r} may not see all collections."))
        if scope["path"] not in _WITHOUT and not key.may_use(collection):
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
