"""A slash that is encoded (%2F) is a part of a name, and only few names can have one."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class Slashes:
    """Leaves the path of such a request encoded, so that no route takes it.

    Args:
        named: where a path goes on with a name that may have one; None: nowhere.

    Servers decode the path before it is routed: ``/collections/shop%2Finfer`` would be
    ``/collections/shop/infer``, past the rules of a proxy that knows only the latter.
    """

    def __init__(self, app: ASGIApp, named: str | None = None) -> None:
        self._app = app
        self._named = None if named is None else named.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw: bytes = scope.get("raw_path") or b""
        fixed = raw if self._named is None else raw.partition(self._named)[0]
        if b"%2f" in fixed.lower():
            scope = {**scope, "path": raw.partition(b"?")[0].decode("latin-1")}
        await self._app(scope, receive, send)
