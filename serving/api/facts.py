"""Facts about a request for its log line, beyond the route and the status."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.types import Scope

CLIENT_LEFT = 499
# Monitors request these every few seconds.
PROBES = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")


def note(request: Request, **facts: str | int) -> None:
    """Add facts to the request's log line: numbers and kinds, no picture, embedding or name."""
    facts_of(request.scope).update(facts)


def facts_of(scope: Scope) -> dict[str, Any]:
    facts: dict[str, Any] = scope.setdefault("state", {}).setdefault("facts", {})
    return facts
