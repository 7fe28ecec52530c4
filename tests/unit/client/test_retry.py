"""What is sent again, how often, and after how long."""

from __future__ import annotations

import math
import socket
from typing import Any

import pytest

from serving.client import ClientError, Retry
from tests.support.caller import Caller
from tests.support.service import NO_ANSWER, FakeService

PREFIX = "urn:faces:problem:"
TOO_MANY = (429, {"type": f"{PREFIX}too-many-requests"})
OVERLOADED = (503, {"type": f"{PREFIX}overloaded"})
CONFLICT = (409, {"type": f"{PREFIX}conflict"})

READS: list[tuple[str, tuple[Any, ...]]] = [
    ("infer", (b"photo",)),
    ("detect", (b"photo",)),
    ("verify", (b"photo", b"photo")),
    ("identity", (7,)),
]


@pytest.mark.parametrize(("method", "args"), READS)
@pytest.mark.parametrize(
    "answer",
    [
        TOO_MANY,
        OVERLOADED,
        (503, {"type": f"{PREFIX}unavailable"}),
        (502, b"<html>"),
        (503, b""),
        (504, {}),
        (NO_ANSWER, None),
    ],
)
def test_questions_are_asked_again(
    service: FakeService, call: Caller, method: str, args: tuple[Any, ...], answer: Any
) -> None:
    good = {"faces": [], "same": True}
    service.answers = [answer, answer, (200, good)]
    assert call(method, *args) == good
    assert len(service.asked) == 3
    assert service.bodies[0].count(b"photo") == service.bodies[2].count(b"photo")
    assert len(call.time.slept) == 2


def test_a_page_is_asked_for_again(service: FakeService, call: Caller) -> None:
    first = {"identities": [{"id": 1}], "next": 1}
    last = {"identities": [{"id": 2}], "next": None}
    service.answers = [(200, first), OVERLOADED, (200, last)]
    assert call("identities") == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(
    ("method", "args", "answers"),
    [
        ("generate", (7, b"photo"), [TOO_MANY, OVERLOADED, CONFLICT]),
        ("delete", (7,), [TOO_MANY, OVERLOADED, CONFLICT]),
        ("delete_all", (), [TOO_MANY, OVERLOADED, CONFLICT]),
        ("erase", (7,), [TOO_MANY, OVERLOADED]),
        ("describe", (7,), [TOO_MANY, CONFLICT]),
        ("merge", (7, [8]), [TOO_MANY, CONFLICT]),
        ("move", (7, ["a1"], 8), [TOO_MANY, CONFLICT]),
        ("erase", (7,), [(429, b"<html>")]),  # of a proxy
    ],
)
def test_a_write_that_was_turned_away_is_sent_again(
    service: FakeService, call: Caller, method: str, args: tuple[Any, ...], answers: list[Any]
) -> None:
    service.answers = [*answers, (200, {"gallery_version": 3})]
    assert call(method, *args) == {"gallery_version": 3}
    assert len(service.asked) == len(answers) + 1


def test_embeddings_that_were_turned_away_are_sent_again(
    service: FakeService, call: Caller
) -> None:
    service.answers = [TOO_MANY, CONFLICT, (200, {"photos": 1})]
    assert call("add_embeddings", 7, [[1.0]], model="m@1") == {"photos": 1}
    assert service.bodies[0] == service.bodies[2]


@pytest.mark.parametrize(
    "type_", ["gallery", "gallery-corrupt", "gallery-too-new", "model-mismatch", "store-unfit"]
)
def test_what_waiting_does_not_mend_is_not_asked_again(
    service: FakeService, call: Caller, type_: str
) -> None:
    service.status, service.body = 503, {"type": PREFIX + type_}
    with pytest.raises(ClientError):
        call("infer", b"photo")
    assert len(service.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422, 500, 501])
def test_a_refusal_is_not_asked_again(service: FakeService, call: Caller, status: int) -> None:
    service.status = status
    with pytest.raises(ClientError):
        call("infer", b"photo")
    assert len(service.asked) == 1


@pytest.mark.parametrize("method", ["ready", "health"])
@pytest.mark.parametrize("answer", [(502, b""), TOO_MANY, (NO_ANSWER, None)])
def test_how_things_are_is_asked_once(
    service: FakeService, call: Caller, method: str, answer: Any
) -> None:
    service.answers = [answer]
    with pytest.raises(ClientError):
        call(method)
    assert len(service.asked) == 1


@pytest.mark.parametrize(("method", "args"), [("infer", (b"photo",)), ("delete", (7,))])
def test_while_nobody_listens_anything_may_be_sent_again(
    call: Caller, method: str, args: tuple[Any, ...]
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        call.url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(ClientError, match="No service answers"):
            call(method, *args)
    assert len(call.time.slept) == 3


class TestPauses:
    @pytest.fixture(autouse=True)
    def _longest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("random.uniform", lambda low, high: high)

    def test_they_grow_to_a_bound(self, service: FakeService, call: Caller) -> None:
        service.status, service.body = OVERLOADED
        call.options["retry"] = Retry(attempts=6, first_s=1, longest_s=6)
        with pytest.raises(ClientError) as caught:
            call("identity", 7)
        assert caught.value.status == 503
        assert call.time.slept == [1, 2, 4, 6, 6]
        assert len(service.asked) == 6

    def test_they_are_random(
        self, service: FakeService, call: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        def uniform(low: float, high: float) -> float:
            asked.append((low, high))
            return 0.125

        monkeypatch.setattr("random.uniform", uniform)
        service.answers = [OVERLOADED, (200, {"faces": []})]
        call("identity", 7)
        assert asked == [(0, Retry().first_s)]
        assert call.time.slept == [0.125]

    def test_they_are_longer_than_the_service_asks_for(
        self, service: FakeService, call: Caller
    ) -> None:
        service.answers = [(*OVERLOADED, {"Retry-After": "7"}), OVERLOADED, (200, {"faces": []})]
        call.options["retry"] = Retry(first_s=1)
        call("identity", 7)
        assert call.time.slept == [8, 2]

    def test_a_longer_one_than_there_is_time_ends_it_at_once(
        self, service: FakeService, call: Caller
    ) -> None:
        service.answers = [(*OVERLOADED, {"Retry-After": "3600"})]
        with pytest.raises(ClientError) as caught:
            call("identity", 7)
        assert caught.value.retry_after == 3600
        assert call.time.slept == []

    def test_no_attempt_begins_after_the_total(self, service: FakeService, call: Caller) -> None:
        service.status, service.body = OVERLOADED
        call.options["retry"] = Retry(attempts=100, total_s=10, first_s=1, longest_s=4)
        with pytest.raises(ClientError):
            call("identity", 7)
        assert call.time.slept == [1, 2, 4]  # four more would be eleven

    def test_none_at_all(self, service: FakeService, call: Caller) -> None:
        service.answers = [OVERLOADED]
        call.options["retry"] = Retry(attempts=1)
        with pytest.raises(ClientError):
            call("identity", 7)
        assert len(service.asked) == 1


@pytest.mark.parametrize(
    "limits",
    [{"attempts": 0}, {"attempts": -1}, {"total_s": -1}, {"first_s": -1}, {"longest_s": math.inf}],
)
def test_limits_that_are_none_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(limits))):
        Retry(**limits)


@pytest.mark.parametrize("attempts", ["3", 1.5, None])
def test_attempts_are_counted(attempts: Any) -> None:
    with pytest.raises(TypeError):
        Retry(attempts=attempts)
