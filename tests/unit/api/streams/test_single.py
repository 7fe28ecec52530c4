"""A photo of a stream as a request of its own: what it carries, and what is waited for."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import Request
from starlette.types import Message, Receive, Scope, Send

from serving import deadline
from serving.api.streams.frames import Frame
from serving.api.streams.single import Single, Singles, line_of
from serving.errors import GalleryCorrupt

FRAME = Frame(b'{"image": ""}', "application/json", 13)
OK: tuple[int, dict[str, str], bytes] = (200, {}, b'{"faces":[]}')


def refusal(status: int, type_: str, after: str | None = None) -> tuple[int, dict[str, str], bytes]:
    headers = {} if after is None else {"retry-after": after}
    body = {"type": f"urn:faces:problem:{type_}", "status": status}
    return status, headers, json.dumps(body).encode()


class App:
    """Gives these answers, one after the other; the last one for ever."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes] | Exception) -> None:
        self.answers = list(answers)
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.deadlines: list[float | None] = []
        self.slept: list[float] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.deadlines.append(deadline.current())
        message = await receive()
        assert not message["more_body"]
        self.bodies.append(message["body"])
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, headers, body = answer
        pairs = [(name.encode(), text.encode()) for name, text in headers.items()]
        start: Message = {"type": "http.response.start", "status": status, "headers": pairs}
        await send(start)
        await send({"type": "http.response.body", "body": body[:3], "more_body": True})
        await send({"type": "http.response.body", "body": body[3:]})

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def ask(self, frame: Frame = FRAME, timeout_s: float = 60, **more: Any) -> Single:
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/collections/shop/infer/stream",
            "root_path": "/faces/collections/shop",
            "query_string": b"top_k=3",
            "headers": [
                (b"authorization", b"Bearer k"),
                (b"content-type", b"application/x-ndjson"),
                (b"transfer-encoding", b"chunked"),
                (b"x-request-id", b"mine"),
                (b"x-request-disconnect-disabled", b"?1"),
                (b"x-verified-by", b"ada"),
            ],
            "state": {"request_id": "mine", "key": "k", "caller": "somebody"},
            "path_params": {},
            "app": self,
            **more,
        }
        singles = Singles(self, Request(scope), "/infer", timeout_s, self.sleep)
        return asyncio.run(singles.answer(5, frame))


def test_it_is_the_request_that_it_would_have_been() -> None:
    app = App(OK)
    single = app.ask()
    assert (single.status, single.body) == (200, b'{"faces":[]}')
    (scope,) = app.scopes
    assert scope["path"] == "/collections/shop/infer"
    assert scope["raw_path"] == b"/collections/shop/infer"
    assert scope["root_path"] == "/faces"
    assert scope["query_string"] == b"top_k=3"
    assert scope["headers"] == [
        (b"authorization", b"Bearer k"),
        (b"x-verified-by", b"ada"),
        (b"x-request-id", b"mine.5"),
        (b"content-type", b"application/json"),
        (b"content-length", b"13"),
    ]
    # Nothing that was found out about the stream counts for it.
    assert set(scope) & {"app", "path_params"} == set()
    assert scope["state"] == {"streamed": True, "facts": {"index": 5}}
    assert app.bodies == [FRAME.body]


@pytest.mark.parametrize(
    "refused",
    [
        refusal(429, "too-many-requests", "1"),
        refusal(503, "overloaded", "1"),
        refusal(503, "no-room", "1"),
        refusal(503, "unavailable", "1"),
        refusal(409, "conflict", "1"),
    ],
    ids=lambda refused: str(refused[2]),
)
def test_what_passes_is_waited_for(refused: tuple[int, dict[str, str], bytes]) -> None:
    app = App(refused, refused, OK)
    assert app.ask().status == 200
    assert len(app.slept) == 2
    assert all(1 <= seconds <= 1.25 for seconds in app.slept)
    # All tries have one deadline.
    assert len(set(app.deadlines)) == 1
    assert app.deadlines[0] is not None


@pytest.mark.parametrize(
    "answer",
    [
        refusal(503, "not-confirmed"),
        refusal(409, "enrolment-conflict"),
        refusal(503, GalleryCorrupt.type, "2"),
        refusal(504, "timed-out"),
        refusal(429, "too-many-requests", "1000"),
        refusal(415, "unsupported-image"),
    ],
    ids=lambda refused: str(refused[2]),
)
def test_what_does_not_pass_is_the_answer(answer: tuple[int, dict[str, str], bytes]) -> None:
    app = App(answer, OK)
    assert app.ask().status == answer[0]
    assert app.slept == []


def test_it_is_waited_for_no_longer_than_a_request_may_take() -> None:
    app = App(refusal(503, "overloaded", "1"))
    assert app.ask(timeout_s=1.1).status == 503
    assert len(app.scopes) <= 2


def test_a_frame_that_is_too_long_is_refused_unseen() -> None:
    app = App(OK)
    single = app.ask(Frame(None, "application/json", 10**9))
    body = json.loads(single.body)
    assert single.status == body["status"] == 413
    assert body["request_id"] == "mine.5"
    assert app.scopes == []


def test_a_bug_without_an_answer_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        App(ZeroDivisionError()).ask()


def test_a_line_has_the_number_and_the_name_before_the_answer() -> None:
    assert line_of(3, Single(200, b'{"faces":[]}', None)) == b'{"index":3,"faces":[]}\n'
    line = line_of(0, Single(200, b'{"faces":[]}', 'a"\u2028ü'))
    assert line == '{"index":0,"ref":"a\\"\u2028ü","faces":[]}\n'.encode()
