"""Which access a request needs, as the routes are marked."""

from __future__ import annotations

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from serving.api.build import ROUTERS
from serving.api.scopes import UNMARKED, About, Access, RouteScopes, needs
from serving.keys import Scope
from tests.support.api import Api

ROUTES = [route for router in ROUTERS for route in router.routes]
SCOPES = RouteScopes(ROUTES)
IDENTIFY = Access(Scope.IDENTIFY, About.COLLECTION, is_open=False)
ENROL = Access(Scope.ENROL, About.COLLECTION, is_open=False)


def test_every_route_is_marked() -> None:
    """A route that somebody forgets is closed; here it shows."""
    unmarked = [
        (method, route.path)
        for route in ROUTES
        if isinstance(route, APIRoute)
        for method in route.methods or ()
        if SCOPES.target(method, route.path).access is UNMARKED
    ]
    assert unmarked == []


def test_only_these_are_for_admins() -> None:
    """A scope that is too wide by mistake shows here."""
    for_admins = {
        (method, route.path)
        for route in ROUTES
        if isinstance(route, APIRoute)
        for method in route.methods or ()
        if (target := SCOPES.target(method, route.path)).access.scope is Scope.ADMIN
        and not target.is_open
    }
    assert for_admins == {
        ("GET", "/collections"),
        ("DELETE", "/identities"),
        ("DELETE", "/identities/{id}"),
        ("POST", "/identities/{id}/withdraw"),
    }


def test_a_route_without_a_mark_is_for_admins() -> None:
    router = APIRouter()

    @router.get("/new")
    async def new() -> None: ...

    assert RouteScopes(router.routes).target("GET", "/new").access == UNMARKED
    assert UNMARKED.scope is Scope.ADMIN
    needs(Scope.ENROL)(new)
    assert RouteScopes(router.routes).target("GET", "/new").access == ENROL


@pytest.mark.parametrize(
    ("method", "path", "access"),
    [
        ("POST", "/infer", IDENTIFY),
        ("HEAD", "/identities", ENROL),
        ("GET", "/identities/7", ENROL),
        ("GET", "/v2/models/any/versions/9/ready", IDENTIFY),
        ("POST", "/v2/models/any/versions/9/infer", IDENTIFY),
        # Not what a route serves: the wrong method, a slash too many, a newline, capital letters.
        ("GET", "/infer", UNMARKED),
        ("POST", "/infer/", UNMARKED),
        ("POST", "//infer", UNMARKED),
        ("POST", "/infer\n", UNMARKED),
        ("POST", "/INFER", UNMARKED),
        ("GET", "/healthz\n", UNMARKED),
        ("GET", "/identities/7/8", UNMARKED),
        ("GET", "/", UNMARKED),
        ("GET", "", UNMARKED),
    ],
)
def test_a_request_is_resolved_as_the_router_does(method: str, path: str, access: Access) -> None:
    target = SCOPES.target(method, path)
    assert (target.access, target.prefix, target.collection) == (access, "", None)
    within = SCOPES.target(method, f"/collections/shop{path}")
    assert within.access == access


@pytest.mark.parametrize(
    ("path", "prefix", "collection"),
    [
        ("/collections/shop/infer", "/collections/shop", "shop"),
        ("/collections/shop/identities/7/merge", "/collections/shop", "shop"),
        ("/collections/shop/v2", "/collections/shop", "shop"),
        ("/collections/shop/v2/made/up", "/collections/shop", "shop"),
        ("/collections/sh\nop/infer", "/collections/sh\nop", "sh\nop"),
        ("/collections/shop/detect", "", None),
        ("/collections/shop/healthz", "", None),
        ("/collections/shop/collections", "", None),
        ("/collections/shop//infer", "", None),
        ("/collections//infer", "", None),
        ("/collections/a/b/infer", "", None),
        ("/collections/shop/infer\n", "", None),
        ("/collections/shop", "", None),
    ],
)
def test_only_what_is_about_a_gallery_is_below_a_collection(
    path: str, prefix: str, collection: str | None
) -> None:
    target = SCOPES.target("POST", path)
    assert (target.prefix, target.collection) == (prefix, collection)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v2", "/v2/health/live"])
def test_an_open_route_is_open_but_not_below_a_collection(path: str) -> None:
    assert SCOPES.target("GET", path).is_open
    assert SCOPES.target("HEAD", path).is_open
    assert not SCOPES.target("POST", path).is_open
    assert not SCOPES.target("GET", f"/collections/shop{path}").is_open


def test_the_description_and_the_console_are_open() -> None:
    """Also those of them that FastAPI adds itself; see test_gate for the answers."""
    api = Api()
    for path in ("/", "/console/app.js", "/docs", "/docs/start.js", "/openapi.json"):
        assert api.get(path).status_code == 200
