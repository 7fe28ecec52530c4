"""One request of an enrolment."""

from __future__ import annotations

from typing import Any

import pytest

from serving.cli.enrolling import Enroller, conflict_sentence
from serving.client import Client, ClientError
from serving.operations.enrolment import NoneUsable, Photo
from tests.support.service import FakeService

PHOTOS = [Photo("a.jpg", b"a", 1), Photo("b.jpg", b"b", 1)]
USED = {"images": [{"used": True, "reason": None}, {"used": False, "reason": "No."}]}


def send(service: FakeService, answered: list[Any], append: bool = False) -> Any:
    with Client(service.url) as client:
        enroller = Enroller(client, True, {"expires_at": "2099-01-01T00:00:00Z"})
        return enroller.send(7, "Ada", PHOTOS, append, lambda *outcome: answered.append(outcome))


def test_what_is_sent_and_what_is_told(service: FakeService) -> None:
    service.body = USED
    answered: list[Any] = []
    assert send(service, answered, append=True) == USED
    (body,) = service.bodies
    for text in (b"append", b"Ada", b"2099-01-01", b'name="force"'):
        assert text in body
    assert answered == [(PHOTOS, USED["images"], ())]


@pytest.mark.parametrize(("status", "error"), [(422, NoneUsable), (409, ClientError)])
def test_a_refusal_is_told_with_its_photos(
    service: FakeService, status: int, error: type[Exception]
) -> None:
    conflict = {"type": "other-person", "images": [1], "similarity": 0.1}
    service.status, service.body = status, {"detail": "No.", **USED, "conflicts": [conflict]}
    answered: list[Any] = []
    with pytest.raises(error, match=r"No\."):
        send(service, answered)
    assert answered == [(PHOTOS, USED["images"], [conflict])]


def test_conflicts_as_sentences() -> None:
    told = {"similarity": 0.814, "id": 5, "name": "Eve"}
    assert conflict_sentence({**told, "type": "already-enrolled"}) == (
        "shows somebody who is enrolled already, as 5 (Eve): similarity 0.81"
    )
    assert "somebody else than the other photos" in conflict_sentence(
        {**told, "type": "other-person"}
    )
