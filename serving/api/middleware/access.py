"""One log line and one measurement for each HTTP request."""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.facts import CLIENT_LEFT, PROBES, facts_of
from serving.errors import ServingError
from serving.telemetry.metrics import ApiMetrics

# Docs and dashboards know this name; it does not follow the module's path.
log = logging.getLogger("serving.access")


class Access:
    """ASGI middleware; outside of all others, so that it sees their answers."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        scope.setdefault("state", {})["began"] = time.time()
        probe = scope["path"] in PROBES
        status, bytes_in, bytes_out = 0, 0, 0

        async def receiving() -> Message:
            nonlocal bytes_in
            message = await receive()
            bytes_in += len(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            nonlocal status, bytes_out
            status = message.get("status", status)
            bytes_out += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receiving, sending)
        except asyncio.CancelledError:
            status = status or CLIENT_LEFT
            raise
        except Exception:
            status = status or 500
            facts_of(scope).setdefault("problem", ServingError.type)
            raise
        finally:
            seconds = time.perf_counter() - start
            route, method = getattr(scope.get("route"), "path", "none"), scope["method"]
            facts = facts_of(scope)
            self._metrics.answered(method, route, status, seconds, facts.get("problem"))
            level = logging.WARNING if status >= 500 else logging.INFO
            log.log(
                logging.DEBUG if probe and status < 500 else level,
                "%s %s %d %.1f ms",
                method,
                route,
                status,
                seconds * 1000,
                extra={
                    "method": method,
                    "route": route,
                    "status": status,
                    "ms": round(seconds * 1000, 1),
                    "request_bytes": bytes_in,
                    "response_bytes": bytes_out,
                    **facts,
                },
            )
