"""Every failure of a request becomes one sentence."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.client import Client, ClientError
from tests.unit.fakes import FakeService, fake_service


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service() as running:
        yield running


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"photo")
    return path


def refusal(service: FakeService, status: int, body: Any) -> ClientError:
    service.status, service.body = status, body
    with pytest.raises(ClientError) as caught:
        Client(service.url).infer(Path(__file__))
    return caught.value


def test_a_photo_is_sent_with_its_type_and_only_the_given_options(
    service: FakeService, photo: Path
) -> None:
    service.body = {"faces": []}
    assert Client(service.url).infer(photo, top_k=3, threshold=None) == {"faces": []}
    assert service.asked == ["POST /infer?top_k=3"]
    assert b'name="image"; filename="a.jpg"' in service.bodies[0]
    assert b"Content-Type: image/jpeg" in service.bodies[0]


@pytest.mark.parametrize(("append", "mode"), [(False, b"replace"), (True, b"append")])
def test_an_enrolment(service: FakeService, photo: Path, append: bool, mode: bytes) -> None:
    Client(service.url).generate(7, [photo, photo], name="José", append=append)
    (body,) = service.bodies
    assert service.asked == ["POST /generate"]
    assert body.count(b'name="images"') == 2
    assert b'name="id"\r\n\r\n7\r\n' in body
    assert b'name="mode"\r\n\r\n' + mode in body
    assert 'name="name"\r\n\r\nJosé'.encode() in body


def test_a_person_without_a_name_is_sent_without_one(service: FakeService, photo: Path) -> None:
    Client(service.url).generate(7, [photo])
    assert b'name="name"' not in service.bodies[0]


def test_nobody_answers() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(ClientError, match=f"No service answers at {url}") as caught:
            Client(url).ready()
    assert caught.value.status is None


def test_an_address_that_is_none() -> None:
    with pytest.raises(ClientError, match="No service answers at faces:8000"):
        Client("faces:8000").ready()


def test_the_answer_takes_too_long(service: FakeService) -> None:
    service.seconds.clear()
    with pytest.raises(ClientError, match="took too long"):
        Client(service.url, timeout_s=0.05).ready()


@pytest.mark.parametrize("status", [200, 404, 502])
@pytest.mark.parametrize("body", [b"<html>", b"", b"[1]", b'"ok"', b"null"])
def test_something_else_answers(service: FakeService, status: int, body: bytes) -> None:
    assert f"is not this service (status {status})" in str(refusal(service, status, body))


def test_a_problem_is_told_by_its_sentence(service: FakeService) -> None:
    error = refusal(service, 413, {"title": "Too large", "detail": "Send a smaller one."})
    assert str(error) == "Send a smaller one."
    assert error.status == 413


def test_a_problem_tells_each_reason_of_its_photos_once(service: FakeService) -> None:
    reasons = ["No face was found.", None, "This is no image.", "No face was found."]
    images = [{"used": False, "reason": reason} for reason in reasons]
    error = refusal(service, 422, {"detail": "No photo is usable.", "images": images})
    assert str(error) == "No photo is usable. No face was found. This is no image."


@pytest.mark.parametrize("body", [{}, {"detail": [{"loc": ["body"]}]}, {"images": None}])
def test_a_refusal_that_is_no_problem_of_ours(service: FakeService, body: Any) -> None:
    assert str(refusal(service, 400, body))


def test_not_ready_is_an_answer(service: FakeService) -> None:
    service.status, service.body = 503, {"ready": False, "checks": {}}
    assert Client(service.url).ready() == {"ready": False, "checks": {}}


def test_a_photo_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"gone\.jpg cannot be read: No such file"):
        Client("http://127.0.0.1:1").infer(tmp_path / "gone.jpg")


@pytest.mark.parametrize("given", ["argument", "environment"])
def test_a_key_is_sent_as_a_bearer_token(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_service() as service:
        if given == "environment":
            monkeypatch.setenv("FACES_KEY", "faces_k")
        client = Client(service.url, key="faces_k" if given == "argument" else None)
        client.ready()
        assert service.headers[0]["authorization"] == "Bearer faces_k"
