"""Which ids of callers are kept, before Serve sees them."""

from __future__ import annotations

import asyncio
import re

import pytest
from starlette.types import Message, Receive, Scope, Send

from serving.request_id import id_of, middlewares

HEADER = b"x-request-id"


def passed_on(*headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """The headers that Serve gets of a request with these."""
    seen: list[tuple[bytes, bytes]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(scope["headers"])

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        raise AssertionError

    scope = {"type": "http", "headers": list(headers)}
    (middleware,) = middlewares()
    wrapped = middleware.cls(app, *middleware.args, **middleware.kwargs)
    asyncio.run(wrapped(scope, receive, send))  # type: ignore[arg-type]
    return seen


@pytest.mark.parametrize(
    "sent",
    [
        "7",
        "abc-1",
        "7864abeb-e4bd-4aaa-b2de-ebb48fc6757b",
        "Root=1-67/x+y==",
        "a.b_c:d",
        "x" * 128,
    ],
)
def test_a_proper_id_is_kept(sent: str) -> None:
    assert id_of([(HEADER, sent.encode())]) == sent
    headers = ((b"accept", b"*/*"), (HEADER, sent.encode()))
    assert passed_on(*headers) == list(headers)


@pytest.mark.parametrize(
    "sent", [b"", b"x" * 129, b"a b", b"a\nb", b"a\n", b'"', b"\xc3\xa9", b"\xff", b"{}", b"\x00"]
)
def test_another_is_replaced(sent: bytes) -> None:
    ((name, value),) = passed_on((HEADER, sent))
    assert name == HEADER
    assert re.fullmatch(rb"[0-9a-f-]{36}", value)


def test_of_two_none_is_believed() -> None:
    ((_, value),) = passed_on((HEADER, b"one"), (HEADER, b"two"))
    assert value not in (b"one", b"two")


def test_each_request_without_one_gets_its_own() -> None:
    assert passed_on() != passed_on()
