"""The HTTP API of liveness and readiness: `/healthz` and `/readyz`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from serving.api import examples, openapi
from serving.api.context import ContextDep, Knows
from serving.api.schemas import Ready
from serving.api.scopes import anybody
from serving.matching.threshold import threshold_problem
from serving.pipeline.readiness import is_fine, what_is_missing

router = APIRouter()

_NOT_READY = "not ready; with a key the answer says why"


@router.get("/healthz")
@openapi.shows(examples.HEALTHZ)
@anybody
async def healthz() -> dict[str, str]:
    """The process answers; see /readyz for whether it can do its work."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"model": Ready}})
@openapi.shows(examples.READYZ)
@anybody
async def readyz(response: Response, context: ContextDep, knows: Knows) -> Ready:
    """Whether the stages are up, Triton serves the model and the gallery is loaded.

    Where keys are required, a caller without one learns only which part is not ready.
    """
    checks = await context.in_time(context.pipeline.ready())
    if checks["triton"] == "ok":
        card = await context.in_time(context.pipeline.card())
        checks["triton"] = threshold_problem(context.matching, card) or "ok"
    ready = what_is_missing(checks) is None
    if context.keys is not None:
        checks["keys"] = context.keys.problem or "ok"  # whoever has a right key is still served
    if not knows:
        checks = {part: "ok" if is_fine(check) else _NOT_READY for part, check in checks.items()}
    response.status_code = 200 if ready else 503
    response.headers["Cache-Control"] = "no-store"
    return Ready(ready=ready, checks=checks)
