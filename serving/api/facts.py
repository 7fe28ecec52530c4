"""What a request's log line says beyond its route and status."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.types import Scope

CLIENT_LEFT = 499


def note(request: Request, **facts: str | int) -> None:
    """Add to the request's log line. Numbers and kinds only: no picture, embedding or name."""
    facts_of(request.scope).update(facts)


def facts_of(scope: Scope) -> dict[str, Any]:
    facts: dict[str, Any] = scope.setdefault("state", {}).setdefault("facts", {})
    return facts
