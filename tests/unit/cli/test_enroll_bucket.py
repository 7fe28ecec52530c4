"""`faces enroll s3://…`: what it sends, what it writes, and what its user reads."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from serving.client import ClientError
from serving.errors import InvalidInput
from serving.operations.names import NotPeople
from tests.support.service import NO_ANSWER, FakeService
from tests.unit.cli.buckets import OUT, PROBLEM, SOURCE, Bucket

CONFLICT = {"type": "already-enrolled", "images": [0], "similarity": 0.8, "confidence": 0.9}
EVE = {**CONFLICT, "id": 5, "name": "Eve"}
HEALTHY = (200, {"status": "ok"})


@pytest.fixture(autouse=True)
def _answers(
    service: FakeService, no_s3_in_the_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.body = answer(True)
    monkeypatch.setattr(threading.Event, "wait", lambda self, timeout=None: self.is_set())


def answer(*used: bool, **more: Any) -> dict[str, Any]:
    images = [{"used": u, "reason": None if u else "No face was found."} for u in used]
    return {"images": images, "photos": sum(used), "model": "m@1", "gallery_version": 3, **more}


def bucket(*names: str, **objects: bytes) -> Bucket:
    photos: Mapping[str, bytes] = {f"in/{name}": f"photo {name}".encode() for name in names}
    return Bucket("enroll", {**photos, **{k.replace("_", "."): v for k, v in objects.items()}})


def test_people_with_names_from_the_bucket(service: FakeService) -> None:
    store = bucket("7/a.jpg", "12/a.png", "12/notes.txt", names_json=b'{"7": "Ada", "99": "Eve"}')
    options = ("--names", "s3://photos/names.json", "--force", "--collection", "shop")
    retention = ("--expires-at", "2099-01-01T00:00:00Z", "--basis", "consent")
    ended = store.faces(
        SOURCE, "--out", OUT, *options, *retention, "--concurrency", "1", "--part-people", "1"
    )
    assert ended.exit_code == 0, ended.output
    assert service.asked == ["GET /healthz", *["POST /collections/shop/generate"] * 2]
    _, seven, twelve = service.bodies
    for text in (b"photo 7/a.jpg", b"Ada", b"replace", b'name="force"', b"2099", b"consent"):
        assert text in seven
    assert b"photo 12/a.png" in twelve
    assert b"Ada" not in twelve
    assert [line["person"] for line in store.lines()] == [7, 12]
    people, photos, counts, passed_over, unused = ended.stdout.splitlines()
    assert people == "2 of 2 people are enrolled."
    assert photos.startswith("2 of 2 photos are used, in ")
    assert photos.endswith("errors: none. Gallery version 3.")
    assert counts == "s3://photos/out/summary.json has these counts."
    assert passed_over == "1 file was passed over: 1 .txt."
    assert unused == "s3://photos/names.json also names an id without photos here: 99."


def test_a_finished_job_is_told(service: FakeService) -> None:
    store = bucket("7/a.jpg")
    assert store.faces(SOURCE, "--out", OUT).exit_code == 0
    again = store.faces(f"{SOURCE}/", "--out", f"{OUT}/", "--concurrency", "2")
    assert again.stdout.startswith("This job was finished before")
    assert len(service.asked) == 3  # with two /healthz
    other = store.faces(SOURCE, "--out", OUT, "--append")
    assert isinstance(other.exception, InvalidInput)


def test_photos_that_are_not_used_and_conflicts_are_told(service: FakeService) -> None:
    store = bucket("7/a.jpg", "7/\x1b[2J.jpg")
    service.answers = [HEALTHY, (200, answer(True, False, conflicts=[EVE]))]
    ended = store.faces(SOURCE, "--out", OUT)
    assert ended.exit_code == 0, ended.output
    # The control character is the first in the order of keys.
    assert "in/7/a.jpg: not used. No face was found." in ended.stderr
    assert "in/7/?[2J.jpg: shows somebody who is enrolled already, as 5 (Eve)" in ended.stderr
    assert "\x1b[2J" not in ended.output
    (line,) = store.lines()
    assert line["not_used"] == [{"photo": "in/7/a.jpg", "reason": "No face was found."}]
    told = {name: value for name, value in EVE.items() if name != "images"}
    assert line["conflicts"] == [{**told, "photos": ["in/7/\x1b[2J.jpg"]}]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(409, "enrolment-conflict"), (409, "retention-ended"), (413, "too-large"), (422, "x")],
)
def test_errors_of_a_person_do_not_stop_the_run(
    service: FakeService, status: int, kind: str
) -> None:
    store = bucket("7/a.jpg", "12/a.jpg")
    refused = {"type": f"{PROBLEM}{kind}", "detail": "Not this one.", **answer(False)}
    service.answers = [HEALTHY, (status, refused)]
    ended = store.faces(SOURCE, "--out", OUT, "--concurrency", "1")
    assert ended.exit_code == 1
    assert "1 of 2 people are enrolled." in ended.stdout
    assert "7: Not this one." in ended.stderr
    assert "1 could not be enrolled." in ended.stderr
    first, second = store.lines()
    assert first["error"]["status"] == status
    assert "error" not in second
    again = store.faces(SOURCE, "--out", OUT, "--errors-are-results")
    assert again.exit_code == 0


@pytest.mark.parametrize(
    "problem",
    [
        (401, {"type": f"{PROBLEM}unauthorized", "detail": "No."}),
        (403, {"type": f"{PROBLEM}forbidden", "detail": "No."}),
        (409, {"type": f"{PROBLEM}collection-full", "detail": "No."}),
        (503, {"type": f"{PROBLEM}gallery-corrupt", "detail": "No."}),
        (502, b"<html>"),
        (NO_ANSWER, b""),
    ],
)
def test_what_is_no_fault_of_a_person_ends_the_run(
    service: FakeService, problem: tuple[int, Any]
) -> None:
    store = bucket(*(f"{n}/a.jpg" for n in range(30)))
    service.answers = [HEALTHY]
    service.status, service.body = problem
    ended = store.faces(SOURCE, "--out", OUT, "--concurrency", "1")
    assert isinstance(ended.exception, ClientError)
    assert store.lines() == []
    assert len(service.asked) <= 8  # one more person may have been begun
    service.status, service.body = 200, answer(True)
    assert store.faces(SOURCE, "--out", OUT).exit_code == 0
    assert len(store.lines()) == 30


@pytest.mark.parametrize("problem", [(500, "internal"), (503, "not-confirmed"), (504, "timed-out")])
def test_a_person_with_an_open_outcome_is_sent_again(
    service: FakeService, problem: tuple[int, str]
) -> None:
    status, kind = problem
    body = {"type": f"{PROBLEM}{kind}", "detail": "It is open."}
    store = bucket("7/a.jpg")
    service.answers = [HEALTHY, (status, body), (status, body)]
    assert store.faces(SOURCE, "--out", OUT).exit_code == 0
    assert len(service.asked) == 4
    store = bucket("7/a.jpg")
    service.answers = [HEALTHY, *[(status, body)] * 4]
    assert store.faces(SOURCE, "--out", OUT).exit_code == 1
    assert store.lines()[0]["error"] == {"type": kind, "status": status, "detail": "It is open."}


def test_a_person_with_an_open_outcome_is_not_appended_again(service: FakeService) -> None:
    store = bucket("7/a.jpg")
    service.answers = [HEALTHY, (NO_ANSWER, b"")]
    assert store.faces(SOURCE, "--out", OUT, "--append").exit_code == 1
    assert len(service.asked) == 2
    error = store.lines()[0]["error"]
    assert error["type"] == "not-confirmed"
    assert "look before you send it again" in error["detail"]


def test_a_busy_service_is_asked_again(service: FakeService) -> None:
    busy = {"type": f"{PROBLEM}too-many-requests", "detail": "Slower."}
    overloaded = {"type": f"{PROBLEM}overloaded", "detail": "Later."}
    away = {"type": f"{PROBLEM}unavailable", "detail": "Later."}
    service.answers = [HEALTHY, (429, busy), (503, overloaded), (503, away)]
    assert bucket("7/a.jpg").faces(SOURCE, "--out", OUT, "--append").exit_code == 0
    assert len(service.asked) == 5


def test_names_that_cannot_be_read(service: FakeService, tmp_path: Any) -> None:
    store = bucket("7/a.jpg", bad_json=b"[]")
    for names, sentence in (
        ("s3://photos/missing.json", "s3://photos/missing.json is not there."),
        ("s3://photos/", "s3://photos is a bucket"),
        ("s3://photos/bad.json", "s3://photos/bad.json is no JSON object"),
        (str(tmp_path), f"{tmp_path} cannot be read"),
    ):
        ended = store.faces(SOURCE, "--out", OUT, "--names", names)
        assert isinstance(ended.exception, NotPeople)
        assert sentence in str(ended.exception)
    file = tmp_path / "names.json"
    file.write_text('{"7": "Ada"}')
    assert store.faces(SOURCE, "--out", OUT, "--names", str(file)).exit_code == 0
    assert store.lines()[0]["name"] == "Ada"


def test_a_prefix_without_people_leaves_nothing(service: FakeService) -> None:
    store = bucket("ada/a.jpg")
    assert isinstance(store.faces(SOURCE, "--out", OUT).exception, NotPeople)
    assert list(store.objects.objects) == ["in/ada/a.jpg"]
