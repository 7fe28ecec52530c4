"""The line and the measurement of each request, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from serving.errors import Overloaded
from serving.telemetry.metrics import ApiMetrics
from tests.support.api import Api

JPEG = {"content-type": "image/jpeg"}


class Answered(ApiMetrics):
    """Notes what is measured: method, route, status, problem."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[str, str, int, str | None]] = []

    def answered(
        self, method: str, route: str, status: int, seconds: float, problem: str | None
    ) -> None:
        assert 0 <= seconds < 60
        self.noted.append((method, route, status, problem))


@pytest.fixture
def answered() -> Answered:
    return Answered()


@pytest.fixture
def api(answered: Answered) -> Api:
    return Api(metrics=answered)


def line(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The only line of the log about requests."""
    (record,) = (r for r in caplog.records if r.name == "serving.access")
    return vars(record)


def test_an_answer(api: Api, answered: Answered, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        answer = api.post("/infer", content=b"photo", headers=JPEG)
    assert answered.noted == [("POST", "/infer", 200, None)]
    told = line(caplog)
    assert (told["method"], told["route"], told["status"]) == ("POST", "/infer", 200)
    assert (told["faces"], told["request_bytes"]) == (1, 5)
    assert told["response_bytes"] == len(answer.content)
    assert told["levelname"] == "INFO"
    assert "POST /infer 200 " in caplog.text


def test_an_enrolment(api: Api, answered: Answered, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        api.post("/generate?id=7&name=Ada", content=b"photo", headers=JPEG)
    assert answered.noted == [("POST", "/generate", 200, None)]
    told = line(caplog)
    assert (told["photos"], told["used"]) == (1, 1)
    assert "Ada" not in str(told)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/identities/nobody", ("GET", "/identities/{id}", 400, "bad-request")),
        ("GET", "/infer", ("GET", "/infer", 405, "method-not-allowed")),
        ("GET", "/made/up", ("GET", "none", 404, "not-found")),
        ("GET", "/docs", ("GET", "/docs", 200, None)),
        ("GET", "/openapi.json", ("GET", "none", 200, None)),
        ("HEAD", "/v2", ("HEAD", "/v2", 200, None)),
        ("HEAD", "/infer", ("HEAD", "/infer", 405, "method-not-allowed")),
        ("HEAD", "/made/up", ("HEAD", "none", 404, "not-found")),
    ],
)
def test_routes_are_told_by_their_template(
    api: Api, answered: Answered, method: str, path: str, expected: tuple[str, str, int, str | None]
) -> None:
    answer = api.request(method, path)
    assert answered.noted == [expected]
    assert answer.status_code == expected[2]


def test_a_failure_is_a_warning_with_its_kind(
    api: Api, answered: Answered, caplog: pytest.LogCaptureFixture
) -> None:
    api.pipeline.failure = Overloaded("Too many wait.")
    api.post("/infer", content=b"photo", headers=JPEG)
    assert answered.noted == [("POST", "/infer", 503, "overloaded")]
    told = line(caplog)
    assert (told["levelname"], told["problem"]) == ("WARNING", "overloaded")


def test_a_bug_is_counted_as_the_500_that_it_becomes(
    api: Api, answered: Answered, caplog: pytest.LogCaptureFixture
) -> None:
    api.pipeline.failure = ZeroDivisionError()
    assert api.post("/infer", content=b"photo", headers=JPEG).status_code == 500
    assert answered.noted == [("POST", "/infer", 500, "internal")]
    assert line(caplog)["status"] == 500


def test_a_caller_who_goes_away_is_counted(api: Api, answered: Answered) -> None:
    api.pipeline.failure = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        api.post("/infer", content=b"photo", headers=JPEG)
    assert answered.noted == [("POST", "/infer", 499, None)]


@pytest.mark.parametrize(
    ("content_type", "half"),
    [
        ("image/jpeg", b"\xff\xd8"),
        ("application/json", b'{"image": "'),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name="),
    ],
)
def test_a_caller_who_goes_away_while_he_sends_is_no_bug(
    api: Api,
    answered: Answered,
    caplog: pytest.LogCaptureFixture,
    content_type: str,
    half: bytes,
) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": half, "more_body": True},
        {"type": "http.disconnect"},
    ]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/infer",
        "query_string": b"",
        "headers": [(b"content-type", content_type.encode())],
    }

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: object) -> None:
        pass

    asyncio.run(api.app(scope, receive, send))
    assert answered.noted == [("POST", "/infer", 499, None)]
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_are_counted_and_not_told(
    api: Api, answered: Answered, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with caplog.at_level(logging.INFO):
        api.get(path)
    assert answered.noted == [("GET", path, 200, None)]
    assert not [r for r in caplog.records if r.name == "serving.access"]
