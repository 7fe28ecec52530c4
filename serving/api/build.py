"""The HTTP application: middleware, routes and error answers put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import Depends, FastAPI

from serving import __version__
from serving.api import audit, openapi, problems
from serving.api.context import Context
from serving.api.memory import Memory
from serving.api.middleware.access import Access
from serving.api.middleware.gate import Gate
from serving.api.middleware.guard import RequestGuard
from serving.api.middleware.places import Places
from serving.api.middleware.rates import Rates
from serving.api.middleware.room import Room
from serving.api.middleware.slashes import Slashes
from serving.api.middleware.spans import Spans
from serving.api.middleware.windows import Windows
from serving.api.options import check_options, taken_of
from serving.api.routes import audit as auditing
from serving.api.routes import (
    collections,
    compreface,
    compreface_faces,
    compreface_subjects,
    console,
    corrections,
    detect,
    docs,
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
from serving.events.outbox import Outbox
from serving.events.worker import Worker
from serving.pipeline.identities import Identities
from serving.pipeline.pipeline import Pipeline
from serving.settings import AppArgs
from serving.telemetry.metrics import ApiMetrics, LoopGauge
from serving.trail.paging import Reader
from serving.trail.writer import Trail
from serving.valid_keys import Keys

_DESCRIPTION = """\
Says for every face in a photo who it is, how sure it is and where the face is, or that it knows
nobody like that. Send photos as JSON with base64, as a raw `image/*` body, or as multipart.

Who is enrolled belongs to a collection: `/collections/{name}` before `/infer`, `/generate`,
`/identities`, `/duplicates`, `/audit` and `/v2` chooses it, and without it the default one is
meant. With API keys: `Authorization: Bearer KEY`. `X-Verified-By: NAME, NAME` names those who
verify the answer, for the audit.
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
    corrections.router,
    duplicates.router,
    auditing.router,
    collections.router,
    health.router,
)


# Where the settings want them.
COMPREFACE = (compreface.router, compreface_subjects.router, compreface_faces.router)
# Those whose requests leave records of the audit.
RECORDED = (
    infer.router,
    generate.router,
    verify.router,
    v2.router,
    identities.router,
    corrections.router,
    *COMPREFACE,
)
# Of the 30 s that a replica has to stop.
_CLOSE_SECONDS = 15.0


@asynccontextmanager
async def _running(
    lag: LoopGauge | None,
    writers: Sequence[Trail | Outbox | Worker],
    app: FastAPI,
) -> AsyncIterator[None]:
    keeping = None if lag is None else asyncio.create_task(lag.keep())
    try:
        yield
    finally:
        if keeping is not None:
            keeping.cancel()
        closing = (asyncio.to_thread(writer.close, _CLOSE_SECONDS) for writer in writers)
        await asyncio.gather(*closing)


def build_api(
    pipeline: Pipeline,
    register: Identities,
    settings: AppArgs,
    *,
    metrics: ApiMetrics,
    keys: Keys | None,
    lag: LoopGauge | None = None,
    trail: Trail | None = None,
    input_key: bytes | None = None,
    records: Reader | None = None,
    outbox: Outbox | None = None,
    worker: Worker | None = None,
) -> FastAPI:
    """The application.

    Args:
        lag: is kept for as long as the application runs.
        keys: those that callers need; None: callers need none.
        trail: the audit's, which is closed when the application ends; see `Context`, as for
            ``input_key`` and ``records``.
        outbox, worker: those of events, which are closed, too; None: the settings want no events.
    """
    api = FastAPI(
        title="Face identification",
        description=_DESCRIPTION,
        version=__version__,
        servers=_SERVERS,
        # Both would load a script from a public CDN; `routes.docs` is in their place.
        docs_url=None,
        redoc_url=None,
        lifespan=partial(_running, lag, [w for w in (trail, outbox, worker) if w is not None]),
        # It would send callers to any host that their request names.
        redirect_slashes=False,
        responses={"default": {"model": Problem, "description": "RFC 9457 problem"}},
    )
    limits = settings.limits
    api.state.context = Context(
        pipeline,
        register,
        limits,
        settings.match,
        settings.lookup,
        metrics,
        keys,
        settings.audit,
        trail,
        input_key,
        records,
        outbox,
    )
    # FastAPI has set up its own route by now: the description of the API.
    routes = list(api.routes)
    for route in routes:
        anybody(route.endpoint)  # type: ignore[attr-defined]
    api.state.compreface = settings.compreface
    for router in (*ROUTERS, *(COMPREFACE if settings.compreface else ())):
        recorded = [Depends(audit.admit)] if router in RECORDED else []
        api.include_router(router, dependencies=[Depends(check_options), *recorded])
        routes.extend(router.routes)
    api.state.taken = taken_of(routes)
    pages = []
    if settings.console:
        api.state.console = console.read_files()
        pages.append(console.router)
    if settings.docs:
        api.state.docs = docs.read_files()
        pages.append(docs.router)
    for router in pages:
        # Pages have no options: a link to one may come with parameters that others added.
        api.include_router(router)
        routes.extend(router.routes)
    problems.install(api)
    openapi.install(api, routes, keys=keys is not None)
    # The last one is the outermost.
    api.add_middleware(Spans, keys=keys is not None)
    api.add_middleware(
        Room,
        memory=Memory(limits.body_memory_bytes),
        max_body_bytes=limits.max_body_bytes,
    )
    scopes = RouteScopes(routes)
    api.add_middleware(
        Gate,
        routes=scopes,
        keys=keys,
        collection=settings.gallery.collection,
        places=Places(limits.max_in_flight, limits.key_share),
        windows=Windows(limits.max_wait, limits.max_in_flight),
        hosts=settings.hosts,
        rates=Rates(),
    )
    api.add_middleware(RequestGuard, limits=limits, routes=scopes)
    api.add_middleware(Access, metrics=metrics)
    subjects = f"{compreface_subjects.router.prefix}/" if settings.compreface else None
    api.add_middleware(Slashes, named=subjects)
    return api
