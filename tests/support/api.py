"""Requests to the HTTP API without a server, and the check of every problem."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping, Sequence
from typing import Any, Literal

import httpx

from serving.api.build import ROUTERS, build_api
from serving.api.openapi import examples_of
from serving.events.outbox import Outbox
from serving.pipeline.freshness import Versions
from serving.pipeline.identities import Identities
from serving.settings import AppArgs, AuditSettings, LimitSettings, MatchSettings
from serving.telemetry.metrics import ApiMetrics
from serving.trail.paging import Reader
from serving.trail.writer import Trail
from serving.valid_keys import Keys
from tests.support.pipeline import FakeEmbedder, FakePipeline
from tests.support.stages import FakeMatch

# By method and path.
EXAMPLES = examples_of(route for router in ROUTERS for route in router.routes)


class Api:
    """Requests to the HTTP API over a `FakePipeline`, without a server."""

    def __init__(
        self,
        threshold: float | Literal["auto"] | None = None,
        verify_threshold: float | None = None,
        keys: Keys | None = None,
        console: bool = True,
        docs: bool = True,
        compreface: bool = False,
        near_misses: Literal["identify", "enrol"] = "enrol",
        hosts: tuple[str, ...] | None = None,
        metrics: ApiMetrics | None = None,
        audit: AuditSettings | None = None,
        trail: Trail | None = None,
        input_key: bytes | None = None,
        records: Reader | None = None,
        outbox: Outbox | None = None,
        **limits: Any,
    ) -> None:
        settings = AppArgs(
            limits=LimitSettings(**limits),
            match=MatchSettings(
                threshold=threshold, verify_threshold=verify_threshold, near_misses=near_misses
            ),
            console=console,
            docs=docs,
            compreface=compreface,
            hosts=hosts,
            audit=audit or AuditSettings(),
        )
        self.pipeline = FakePipeline(settings.match, settings.limits.max_faces)
        self.register = Identities(FakeMatch(), FakeEmbedder(), Versions(settings.gallery))
        self.app = build_api(
            self.pipeline,
            self.register,
            settings,
            metrics=metrics or ApiMetrics(),
            keys=keys,
            trail=trail,
            input_key=input_key,
            records=records,
            outbox=outbox,
        )

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://faces") as client:
                return await client.request(method, path, **request)

        return asyncio.run(ask())

    def requests(
        self, method: str, path: str, headers: dict[str, str], bodies: Sequence[bytes]
    ) -> list[httpx.Response]:
        """One request after the other, each with one of the bodies."""

        async def ask() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://faces") as client:
                return [
                    await client.request(method, path, headers=headers, content=body)
                    for body in bodies
                ]

        return asyncio.run(ask())

    def in_pieces(
        self, path: str, headers: dict[str, str], pieces: Sequence[bytes], end: bool = True
    ) -> httpx.Response:
        """A body that comes in these pieces; without an ``end`` the caller leaves behind them."""
        messages = [{"type": "http.request", "body": p, "more_body": True} for p in pieces]
        messages.append({"type": "http.request"} if end else {"type": "http.disconnect"})
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(name.encode(), text.encode()) for name, text in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("faces", 80),
        }
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))
        start, *bodies = sent
        content = b"".join(message.get("body", b"") for message in bodies)
        return httpx.Response(start["status"], headers=start["headers"], content=content)

    @property
    def asked(self) -> dict[str, Any]:
        """The arguments of the one call that the pipeline got."""
        (asked,) = self.pipeline.asked
        return asked

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self.request("GET", path, **request)

    def post(self, path: str, **request: Any) -> httpx.Response:
        return self.request("POST", path, **request)


def detail_of(answer: httpx.Response, status: int) -> str:
    """The sentence of a problem, after a check of all its fields."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail", "request_id"} <= body.keys()
    assert body["status"] == status
    assert body["type"].startswith("urn:faces:problem:")
    assert body["request_id"]
    assert "Traceback" not in answer.text
    return str(body["detail"])
