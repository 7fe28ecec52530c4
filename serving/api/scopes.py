"""The scope of a route: each handler is marked with what a key must allow, and requests are
resolved to it by method and path, before anything of a body is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeVar

from starlette.routing import BaseRoute, Route
from starlette.types import Scope as AsgiScope

from serving.keys import Scope

Handler = TypeVar("Handler", bound=Callable[..., Any])

_BELOW_COLLECTION = re.compile(r"(/collections/([^/]+))(/([^/]+)(?:/.*)?)")
_ATTRIBUTE = "_faces_access"


class About(Enum):
    """Whose data a route is about."""

    COLLECTION = auto()  # one gallery's: also served below /collections/{name}
    NO_COLLECTION = auto()  # the request's own: a key of any collection will do
    ALL_COLLECTIONS = auto()  # every gallery's: only for keys of all collections


@dataclass(frozen=True)
class Access:
    """Who may call a route.

    Attributes:
        is_open: anybody, with a key or without; below a collection the scope is needed all the
            same.
        streams: the body is a stream of photos, see `serving.api.streams`.
    """

    scope: Scope
    about: About
    is_open: bool
    streams: bool = False


# A route that is not marked is closed, not open.
UNMARKED = Access(Scope.ADMIN, About.COLLECTION, is_open=False)


def needs(
    scope: Scope,
    about: About = About.COLLECTION,
    *,
    is_open: bool = False,
    streams: bool = False,
) -> Callable[[Handler], Handler]:
    """Mark a route's handler: a key needs ``scope`` to call it; see `Access`."""

    def mark(handler: Handler) -> Handler:
        setattr(handler, _ATTRIBUTE, Access(scope, about, is_open, streams))
        return handler

    return mark


def anybody(handler: Handler) -> Handler:
    """Mark a route's handler as open to anybody: it reports no data about people."""
    return needs(Scope.ADMIN, About.NO_COLLECTION, is_open=True)(handler)


def changes(route: Route) -> bool:
    """Whether a route may change what is stored; one that only asks about photos does not."""
    access: Access = getattr(route.endpoint, _ATTRIBUTE, UNMARKED)
    return not (route.methods or set()) <= {"GET", "HEAD"} and access.scope is not Scope.IDENTIFY


@dataclass(frozen=True)
class Target:
    """What a request's method and path lead to.

    Attributes:
        prefix: the part of the path that names the collection; empty: none does.
        collection: its name as the path has it, not checked; None: the default one.
    """

    access: Access
    prefix: str = ""
    collection: str | None = None

    @property
    def is_open(self) -> bool:
        return self.access.is_open and not self.prefix


class RouteScopes:
    """The access of every route of an application.

    Args:
        routes: each with the whole of its path.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._routes = [
            (route, getattr(route.endpoint, _ATTRIBUTE, UNMARKED))
            for route in routes
            if isinstance(route, Route)
        ]
        self._within = {
            route.path.split("/")[1]
            for route, access in self._routes
            if access.about is About.COLLECTION
        }

    def target_of(self, scope: AsgiScope) -> Target:
        """`target` of a request, resolved once for all middleware."""
        state = scope.setdefault("state", {})
        if "target" not in state:
            state["target"] = self.target(scope["method"], scope["path"])
        found: Target = state["target"]
        return found

    def target(self, method: str, path: str) -> Target:
        """Resolve a request.

        Args:
            path: percent-decoded, as the router sees it, or a route's template.
        """
        below = _BELOW_COLLECTION.fullmatch(path)
        if below is None or below[4] not in self._within:
            return Target(self._access(method, path))
        return Target(self._access(method, below[3]), below[1], below[2])

    def _access(self, method: str, path: str) -> Access:
        method = "GET" if method == "HEAD" else method
        for route, access in self._routes:
            # The router takes a path with a newline behind it, too; here it is for admins.
            if method in (route.methods or ()) and route.path_regex.fullmatch(path):
                return access
        return UNMARKED
