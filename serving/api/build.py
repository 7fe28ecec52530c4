"""The HTTP application: middleware, routes and error answers put together."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from serving import __version__
from serving.api import openapi, problems
from serving.api.context import Context
from serving.api.middleware.access import Access
from serving.api.middleware.gate import Gate
from serving.api.middleware.guard import RequestGuard
from serving.api.middleware.rates import Rates
from serving.api.routes import (
    collections,
    console,
    detect,
    duplicates,
    generate,
    health,
    identities,
    infer,
    v2,
    verify,
)
from serving.api.schemas import Problem
from serving.api.scopes import RouteScopes, anybody
from serving.keys import Keys
from serving.pipeline.identities import Identities
from serving.pipeline.pipeline import Pipeline
from serving.settings import AppArgs
from serving.telemetry.metrics import ApiMetrics

_DESCRIPTION = """\
Says for every face in a photo who it is, how sure it is and where the face is, or that it knows
nobody like that. Send photos as JSON with base64, as a raw `image/*` body, or as multipart.

Who is enrolled belongs to a collection: `/collections/{name}` before `/infer`, `/generate`,
`/identities`, `/duplicates` and `/v2` chooses it, and without it the default one is meant. With API
keys: `Authorization: Bearer KEY`.
"""
_SERVERS: list[dict[str, Any]] = [
    {"url": "/", "description": "the default collection"},
    {
        "url": "/collections/{name}",
        "description": "another collection; only for what is about a gallery",
        "variables": {"name": {"default": "default"}},
    },
]
# In the order in which OpenAPI lists them.
ROUTERS = (
    infer.router,
    generate.router,
    detect.router,
    verify.router,
    v2.router,
    identities.router,
    duplicates.router,
    collections.router,
    health.router,
)


def build_api(
    pipeline: Pipeline,
    register: Identities,
    settings: AppArgs,
    *,
    metrics: ApiMetrics,
    keys: Keys | None,
) -> FastAPI:
    """The application.

    Args:
        keys: those that callers need; None: callers need none.
    """
    api = FastAPI(
        title="Face identification",
        description=_DESCRIPTION,
        version=__version__,
        servers=_SERVERS,
        redoc_url=None,
        # It would send callers to any host that their request names.
        redirect_slashes=False,
        responses={"default": {"model": Problem, "description": "RFC 9457 problem"}},
    )
    limits = settings.limits
    api.state.context = Context(pipeline, register, limits, settings.match, metrics, settings.audit)
    routers = list(ROUTERS)
    if settings.console:
        api.state.console = console.read_files()
        routers.append(console.router)
    # FastAPI has set up its own routes by now: the description of the API and its page.
    routes = list(api.routes)
    for route in routes:
        anybody(route.endpoint)  # type: ignore[attr-defined]
    for router in routers:
        api.include_router(router)
        routes.extend(router.routes)
    problems.install(api)
    openapi.install(api, routes, keys=keys is not None)
    # The last one is the outermost.
    api.add_middleware(
        Gate,
        routes=RouteScopes(routes),
        keys=keys,
        collection=settings.gallery.collection,
        max_in_flight=limits.max_in_flight,
        hosts=settings.hosts,
        rates=Rates(),
    )
    api.add_middleware(
        RequestGuard, max_body_bytes=limits.max_body_bytes, timeout_s=limits.timeout_s
    )
    api.add_middleware(Access, metrics=metrics)
    return api
