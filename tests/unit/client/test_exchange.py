"""Every failure of a request becomes one error that says what is known of it."""

from __future__ import annotations

import copy
import math
import pickle
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.client import AsyncClient, Client, ClientError
from serving.settings import GallerySettings
from tests.support.caller import Caller
from tests.support.service import NO_ANSWER, FakeService

PREFIX = "urn:faces:problem:"
PHOTO = Path(__file__)


def failure(call: Caller, method: str, *args: Any, **options: Any) -> ClientError:
    with pytest.raises(ClientError) as caught:
        call(method, *args, **options)
    assert "Traceback" not in str(caught.value)
    return caught.value


@contextmanager
def closed_port() -> Iterator[str]:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{nobody.getsockname()[1]}"


def test_nobody_answers(call: Caller) -> None:
    with closed_port() as url:
        call.url = url
        error = failure(call, "ready")
    assert str(error).startswith(f"No service answers at {url}")
    assert (error.status, error.type, error.not_confirmed) == (None, None, False)


def test_nobody_answers_a_write(call: Caller) -> None:
    with closed_port() as url:
        call.url = url
        assert not failure(call, "delete", 7).not_confirmed


@pytest.mark.parametrize("url", ["faces:8000", "http//faces"])
def test_an_address_without_a_protocol(call: Caller, url: str) -> None:
    call.url = url
    assert f"No service answers at {url}" in str(failure(call, "ready"))
    assert call.time.slept == []


def test_an_address_that_is_none(call: Caller) -> None:
    call.url = "http://faces:port"
    assert "'http://faces:port' is no address" in str(failure(call, "ready"))


def test_the_answer_takes_too_long(service: FakeService, call: Caller) -> None:
    service.seconds.clear()
    error = failure(call, "infer", PHOTO, timeout_s=0.05)
    assert "took too long" in str(error)
    assert not error.not_confirmed
    assert call.time.slept == []  # whoever asked has waited long enough


@pytest.mark.parametrize("status", [200, 404, 502])
@pytest.mark.parametrize("body", [b"<html>", b"", b"[1]", b'"ok"', b"null", b"[" * 100_000])
def test_something_else_answers(
    service: FakeService, call: Caller, status: int, body: bytes
) -> None:
    service.status, service.body = status, body
    error = failure(call, "infer", PHOTO)
    assert f"is not this service (status {status})" in str(error)
    assert (error.status, error.type) == (status, None)


def test_a_proxy_that_takes_no_large_photo_is_told(service: FakeService, call: Caller) -> None:
    service.status, service.body = 413, b"<html><h1>413 Request Entity Too Large</h1></html>"
    error = failure(call, "infer", PHOTO)
    assert "is not this service (status 413)" in str(error)
    assert str(error).endswith(
        "A proxy before the service may have answered: what was sent is larger than it takes."
    )
    assert error.status == 413


def test_something_else_answers_what_cannot_be_unpacked(service: FakeService, call: Caller) -> None:
    service.answers = [(200, b"no gzip", {"Content-Encoding": "gzip"})]
    assert "is not this service" in str(failure(call, "identity", 7))


def test_a_redirection_is_told_and_not_followed(service: FakeService, call: Caller) -> None:
    service.answers = [(308, b"", {"Location": "https://faces.example/infer"})]
    error = failure(call, "infer", PHOTO)
    assert str(error).endswith("It redirects to https://faces.example/infer.")
    assert len(service.asked) == 1


def test_a_problem(service: FakeService, call: Caller) -> None:
    problem = {
        "type": f"{PREFIX}too-large",
        "title": "Too large",
        "status": 413,
        "detail": "Send a smaller one.",
        "request_id": "r1",
    }
    service.status, service.body = 413, problem
    error = failure(call, "infer", PHOTO)
    assert str(error) == error.detail == "Send a smaller one."
    assert (error.status, error.type, error.request_id) == (413, "too-large", "r1")
    assert (error.retry_after, error.images, error.not_confirmed) == (None, [], False)


def test_a_problem_tells_each_reason_of_its_photos_once(service: FakeService, call: Caller) -> None:
    reasons = ["No face was found.", None, "This is no image.", "No face was found."]
    images = [{"used": False, "reason": reason} for reason in reasons]
    service.status, service.body = 422, {"detail": "No photo is usable.", "images": images}
    error = failure(call, "generate", 7, [PHOTO])
    assert str(error) == "No photo is usable. No face was found. This is no image."
    assert error.detail == "No photo is usable."
    assert error.images == images
    assert not error.not_confirmed


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"detail": [{"loc": ["body"]}]},
        {"images": None},
        {"images": [None, {}, {"reason": ["x"]}]},
        {"type": 7, "request_id": {}},
    ],
)
def test_a_refusal_that_is_no_problem_of_ours(
    service: FakeService, call: Caller, body: Any
) -> None:
    service.status, service.body = 400, body
    error = failure(call, "infer", PHOTO)
    assert str(error)
    assert error.type is None
    assert error.request_id == service.headers[0]["x-request-id"]


def test_every_attempt_has_the_same_request_id_and_every_call_another(
    service: FakeService, call: Caller
) -> None:
    service.answers = [(NO_ANSWER, None), (200, {"faces": []})]
    call("identity", 7)
    call("identity", 7)
    first, second, other = [h["x-request-id"] for h in service.headers]
    assert first == second != other


def test_not_ready_is_an_answer(service: FakeService, call: Caller) -> None:
    service.status, service.body = 503, {"ready": False, "checks": {}}
    assert call("ready") == {"ready": False, "checks": {}}


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("soon", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)]
)
def test_how_long_to_wait_is_told(
    service: FakeService, call: Caller, header: str, seconds: float | None
) -> None:
    service.status, service.body = 504, {}
    service.answers = [(400, {}, {"Retry-After": header})]
    assert failure(call, "identity", 7).retry_after == seconds


WRITES: list[tuple[str, tuple[Any, ...]]] = [
    ("generate", (7, b"photo")),
    ("describe", (7,)),
    ("delete", (7,)),
    ("delete_all", ()),
    ("erase", (7,)),
    ("merge", (7, [8])),
    ("move", (7, ["a1"], 8)),
    ("distinct", (7, [8])),
    ("same", (7, 8)),
    ("unmerge", (7,)),
    ("undo", (7,)),
]


@pytest.mark.parametrize(("method", "args"), WRITES)
@pytest.mark.parametrize(
    "answer",
    [
        (NO_ANSWER, None),
        (500, {"type": f"{PREFIX}internal"}),
        (502, b"<html>"),
        (503, {"type": f"{PREFIX}not-confirmed"}),
        (503, {"type": f"{PREFIX}gallery-corrupt"}),
        (503, b"<html>", {"Retry-After": "2"}),
        (504, {"type": f"{PREFIX}timed-out"}),
        (200, b'{"cut'),
        (200, b"<html>"),
    ],
)
def test_a_write_of_unknown_outcome_is_sent_once_and_said_to_be_so(
    service: FakeService, call: Caller, method: str, args: tuple[Any, ...], answer: tuple[Any, ...]
) -> None:
    service.answers = [answer]
    assert failure(call, method, *args).not_confirmed
    writes = [asked for asked in service.asked if not asked.startswith("GET")]
    assert len(writes) == 1
    assert writes == service.asked or method == "merge"  # which looks what became of it
    assert call.time.slept == []


def test_a_write_that_is_answered_too_late(service: FakeService, call: Caller) -> None:
    service.seconds.clear()
    error = failure(call, "delete", 7, timeout_s=0.05)
    assert error.not_confirmed
    assert "look before you send it again" in str(error)
    service.seconds.set()
    assert len(service.asked) == 1


@pytest.mark.parametrize(("method", "args"), WRITES)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422])
def test_a_write_that_was_refused_was_not_carried_out(
    service: FakeService, call: Caller, method: str, args: tuple[Any, ...], status: int
) -> None:
    service.status = status
    assert not failure(call, method, *args).not_confirmed
    assert len(service.asked) == 1


def test_an_enrolment_that_was_refused_for_conflicts_is_not_sent_again(
    service: FakeService, call: Caller
) -> None:
    conflict = {"type": "already-enrolled", "images": [0], "id": 5, "name": "Eve"}
    body = {"type": f"{PREFIX}enrolment-conflict", "detail": "No.", "conflicts": [conflict, 7]}
    service.status, service.body = 409, body
    error = failure(call, "enrol", 7, PHOTO)
    assert len(service.asked) == 1
    assert (error.type, error.not_confirmed) == ("enrolment-conflict", False)
    assert error.conflicts == [conflict]


def test_an_erasure_that_lost_a_race_may_have_done_half(service: FakeService, call: Caller) -> None:
    service.status, service.body = 409, {"type": f"{PREFIX}conflict"}
    assert failure(call, "erase", 7).not_confirmed
    assert len(service.asked) == 1


@pytest.mark.parametrize("type_", ["unavailable", "overloaded", "conflict"])
@pytest.mark.parametrize(("method", "args"), [w for w in WRITES if w[0] != "erase"])
def test_a_write_that_was_not_carried_out_is_sent_again(
    service: FakeService, call: Caller, method: str, args: tuple[Any, ...], type_: str
) -> None:
    problem = {"type": f"{PREFIX}{type_}"}
    service.answers = [(409 if type_ == "conflict" else 503, problem, {"Retry-After": "2"})]
    call(method, *args)
    assert len(service.asked) == 2
    assert len(call.time.slept) == 1
    assert call.time.slept[0] >= 2
    service.answers = [(503, problem)] * 4
    assert not failure(call, method, *args).not_confirmed


def test_an_erasure_that_failed_may_have_done_half(service: FakeService, call: Caller) -> None:
    service.status, service.body = 503, {"type": f"{PREFIX}unavailable"}
    assert failure(call, "erase", 7).not_confirmed
    assert len(service.asked) == 1


@pytest.mark.parametrize("method", ["describe", "merge"])
def test_what_is_written_but_cannot_be_read_back_is_written(
    service: FakeService, call: Caller, method: str
) -> None:
    service.status, service.body = 503, {"type": f"{PREFIX}not-read-back"}
    assert not failure(call, method, *dict(WRITES)[method]).not_confirmed
    assert len(service.asked) == 1


def test_a_photo_that_cannot_be_read(service: FakeService, call: Caller, tmp_path: Path) -> None:
    error = failure(call, "infer", tmp_path / "gone.jpg")
    assert str(error).endswith("gone.jpg cannot be read: No such file or directory.")
    assert (error.status, error.request_id) == (None, None)
    assert service.asked == []


def test_an_error_can_be_copied_and_pickled() -> None:
    error = ClientError("Away.", 503, type="unavailable", retry_after=2.0, not_confirmed=True)
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert str(other) == "Away."
        assert vars(other) == vars(error)


def test_a_key_that_is_no_text() -> None:
    with pytest.raises(TypeError, match="API key is text, not int"):
        Client(key=5)  # type: ignore[arg-type]


def test_names_of_collections_are_those_of_the_settings() -> None:
    from serving.client.exchange import _COLLECTION

    (pattern,) = (
        m.pattern for m in GallerySettings.model_fields["collection"].metadata if m.pattern
    )
    assert pattern == _COLLECTION.pattern


def test_a_connection_that_breaks_while_the_answer_arrives(call: Caller) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        seen = []

        def half_an_answer() -> None:
            for _ in range(4):
                connection, _ = listener.accept()
                with connection:
                    seen.append(connection.recv(65536))
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")

        thread = threading.Thread(target=half_an_answer, daemon=True)
        thread.start()
        call.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert "broke before its whole answer came" in str(failure(call, "identity", 7))
        thread.join(10)
    assert len(seen) == 4  # a question is asked again


class TestKeysOverHttp:
    @pytest.mark.parametrize(
        "url", ["http://faces.example.com", "http://10.0.0.7:8000", "http://faces", "HTTP://x"]
    )
    def test_a_key_that_others_can_read_on_the_way_is_warned_of(
        self, call: Caller, url: str
    ) -> None:
        made = AsyncClient if call.kind == "async" else Client
        with pytest.warns(UserWarning, match=r"over http://.*plain_http=True") as caught:
            made(url, key="faces_x")
        assert caught[0].filename == __file__
        made(url, key="faces_x", plain_http=True)
        made(url, key="")  # none is sent

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1:8000",
            "http://127.9.9.9",
            "http://[::1]:8000",
            "http://localhost:8000",
            "http://faces.localhost",
            "https://faces.example.com",
        ],
    )
    def test_no_other_is(self, call: Caller, url: str) -> None:
        (AsyncClient if call.kind == "async" else Client)(url, key="faces_x")


class TestMergeWhoseAnswerIsLost:
    PERSON = (200, {"id": 7, "name": None})
    GONE = (404, {"type": f"{PREFIX}unknown-identity", "detail": "Nobody."})

    def test_it_counts_as_done_when_the_sources_are_gone(
        self, service: FakeService, call: Caller
    ) -> None:
        service.answers = [(NO_ANSWER, {}), self.PERSON, self.GONE, self.GONE]
        assert call("merge", 7, iter([8, 9])) == self.PERSON[1]
        assert service.asked == [
            "POST /identities/7/merge",
            "GET /identities/7",
            "GET /identities/8",
            "GET /identities/9",
        ]

    @pytest.mark.parametrize("seen", [[PERSON, GONE, PERSON], [GONE], [PERSON, GONE, (400, {})]])
    def test_otherwise_it_is_not_confirmed(
        self, service: FakeService, call: Caller, seen: list[Any]
    ) -> None:
        service.answers = [(NO_ANSWER, {}), *seen]
        assert failure(call, "merge", 7, [8, 9]).not_confirmed
        assert not service.answers

    def test_a_refusal_is_not_looked_into(self, service: FakeService, call: Caller) -> None:
        service.answers = [self.GONE]
        assert failure(call, "merge", 7, [8]).status == 404
        assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("infer", (PHOTO,)),
        ("detect", (PHOTO,)),
        ("verify", (PHOTO, PHOTO)),
        ("identities", ()),
        ("duplicates", ()),
    ],
)
def test_an_answer_of_something_else_is_none(
    service: FakeService, call: Caller, method: str, args: tuple[Any, ...]
) -> None:
    service.body = {}
    assert "is not this service (status 200)" in str(failure(call, method, *args))


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf, -math.inf])
def test_a_time_limit_that_is_none_is_refused_before_anything_is_sent(
    service: FakeService, timeout: float
) -> None:
    with pytest.raises(ValueError, match="timeout_s is more than 0 seconds"):
        Client(service.url, timeout)
    with Client(service.url) as client, pytest.raises(ValueError, match="more than 0 seconds"):
        client.infer(b"photo", timeout_s=timeout)
    assert not service.asked


@pytest.mark.parametrize("timeout", ["5", True, [5]])
def test_a_time_limit_is_a_number(service: FakeService, timeout: Any) -> None:
    with pytest.raises(TypeError, match="timeout_s is a number of seconds"):
        Client(service.url, timeout)


def test_numbers_of_numpy_and_no_limit_are_limits(service: FakeService) -> None:
    for timeout in (np.float32(5), np.int64(5), 5, None):
        with Client(service.url, timeout) as client:  # type: ignore[arg-type]
            client.infer(b"photo")
