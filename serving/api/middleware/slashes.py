"""A slash that is encoded (%2F) is a part of a name, and no name here has one."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class Slashes:
    """Leaves the path of such a request encoded, so that no route takes it.

    Servers decode the path before it is routed: ``/collections/shop%2Finfer`` would be
    ``/collections/shop/infer``, past the rules of a proxy that knows only the latter.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw: bytes = scope.get("raw_path") or b""
        if b"%2f" in raw.lower():
            scope = {**scope, "path": raw.partition(b"?")[0].decode("latin-1")}
        await self._app(scope, receive, send)
