"""The span of each request that may be answered.

Behind the gate: a caller's ``traceparent`` decides what is recorded and sent to the collector, so
it counts only of callers that were let in. Of requests that need no key it counts where no request
needs one.
"""

from __future__ import annotations

from opentelemetry.trace import StatusCode
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import tracing
from serving.api.facts import CLIENT_LEFT, PROBES, facts_of


class Spans:
    """ASGI middleware, inside of the gate.

    Args:
        keys: callers need keys.
    """

    def __init__(self, app: ASGIApp, keys: bool) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        known = not self._keys or "key" in scope.get("state", {})
        with tracing.request(Headers(scope=scope) if known else {}) as span:
            try:
                await self._app(scope, receive, sending)
            except Exception:
                status = status or 500
                raise
            finally:
                route, method = getattr(scope.get("route"), "path", "none"), scope["method"]
                span.update_name(f"{method} {route}")
                span.set_attribute("http.request.method", method)
                span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", status or CLIENT_LEFT)
                if status >= 500:
                    span.set_status(StatusCode.ERROR)
                if (trace_id := tracing.trace_id_of(span)) is not None:
                    facts_of(scope)["trace_id"] = trace_id
