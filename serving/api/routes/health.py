"""The HTTP API of liveness and readiness: `/healthz` and `/readyz`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from serving.api import examples, openapi
from serving.api.context import ContextDep
from serving.api.schemas import Ready
from serving.api.scopes import anybody
from serving.matching.threshold import threshold_problem
from serving.pipeline.readiness import what_is_missing

router = APIRouter()


@router.get("/healthz")
@openapi.shows(examples.HEALTHZ)
@anybody
async def healthz() -> dict[str, str]:
    """The process answers; see /readyz for whether it can do its work."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"model": Ready}})
@openapi.shows(examples.READYZ)
@anybody
async def readyz(response: Response, context: ContextDep) -> Ready:
    """Whether the stages are up, Triton serves the model and the gallery is loaded."""
    checks = await context.in_time(context.pipeline.ready())
    if checks["triton"] == "ok":
        card = await context.in_time(context.pipeline.card())
        checks["triton"] = threshold_problem(context.matching, card) or "ok"
    ready = what_is_missing(checks) is None
    response.status_code = 200 if ready else 503
    return Ready(ready=ready, checks=checks)
