"""`faces batch`: what it sends, what it writes, and what its user reads."""

from __future__ import annotations

from typing import Any

import pytest

from serving.client import ClientError
from serving.errors import InvalidInput
from tests.support.service import FakeService
from tests.unit.cli.buckets import OUT, PROBLEM, SOURCE
from tests.unit.cli.buckets import Bucket as AnyBucket

FACE = {"id": 7, "name": "Ada", "quality": {"reasons": []}, "ambiguous": [], "liveness": None}
ANSWER = {"faces": [FACE], "model": "facenet@1", "gallery_version": 3}


@pytest.fixture(autouse=True)
def _answers(service: FakeService, no_s3_in_the_environment: None) -> None:
    service.body = ANSWER


class Bucket(AnyBucket):
    def __init__(self, *names: str) -> None:
        super().__init__("batch", {f"in/{name}": f"photo {name}".encode() for name in names})


def test_every_photo_is_looked_up(service: FakeService) -> None:
    bucket = Bucket("a.jpg", "b.png", "ü.webp", "notes.txt")
    options = ("--top-k", "3", "--threshold", "0.5", "--max-faces", "9", "--collection", "shop")
    ended = bucket.faces(SOURCE, "--out", OUT, *options, "--part-photos", "2")
    assert ended.exit_code == 0, ended.output
    first, *asked = service.asked
    assert first == "GET /healthz"
    path = "POST /collections/shop/infer?top_k=3&threshold=0.5&max_faces=9"
    assert asked == [path] * 3
    assert sorted(b"photo b.png" in body for body in service.bodies) == [False] * 3 + [True]
    assert [line["photo"] for line in bucket.lines()] == ["in/a.jpg", "in/b.png", "in/ü.webp"]
    assert all(line.items() >= ANSWER.items() for line in bucket.lines())
    time, faces, model, where = ended.stdout.splitlines()
    assert time.startswith("3 photos in ")
    assert time.endswith("errors: none. Passed over, since they are no photos: 1.")
    assert faces == (
        "3 faces: 3 named, 0 unknown, 0 too poor, 0 ambiguous, 0 not live; 0 photos without a face."
    )
    assert model == "facenet@1, gallery version 3"
    assert where == "s3://photos/out/summary.json has these counts."


def test_a_finished_job_is_told(service: FakeService) -> None:
    bucket = Bucket("a.jpg")
    assert bucket.faces(SOURCE, "--out", OUT).exit_code == 0
    again = bucket.faces(f"{SOURCE}/", "--out", f"{OUT}/", "--concurrency", "2")
    assert again.stdout.startswith("This job was finished before; new photos need another --out.")
    assert len(service.asked) == 3  # with two /healthz
    other = bucket.faces(SOURCE, "--out", OUT, "--top-k", "2")
    assert isinstance(other.exception, InvalidInput)


def test_where_the_buckets_are(service: FakeService) -> None:
    bucket = Bucket("a.jpg")
    bucket.faces(SOURCE, "--out", OUT, "--endpoint", "http://s3:9000", "--region", "x")
    assert bucket.settings.endpoint == "http://s3:9000"
    assert (bucket.settings.bucket, bucket.settings.region) == ("photos", "x")
    assert bucket.needs == "writing results needs to get, put and list objects"


@pytest.mark.parametrize("kind", ["too-large", "unsupported-image", "internal", "timed-out"])
def test_a_photo_that_is_refused_is_an_error_line(service: FakeService, kind: str) -> None:
    bucket = Bucket("a.jpg", "b.jpg", "\x1b[2Jü.jpg")
    problem = {"type": f"{PROBLEM}{kind}", "detail": "It is \x1b[31m no image."}
    service.answers = [(200, ANSWER), (415, problem), (415, problem)]
    ended = bucket.faces(SOURCE, "--out", OUT, "--concurrency", "1")
    assert ended.exit_code == 1
    errors = [line.get("error") for line in bucket.lines()]
    told = {"type": kind, "status": 415, "detail": "It is \x1b[31m no image."}
    # In the order of the keys, and the control character is the first.
    assert errors == [told, told, None]
    assert f"errors: 2 {kind}." in ended.stdout
    assert "2 photos could not be looked up." in ended.stderr
    assert "a.jpg: It is ?[31m no image." in ended.stderr
    assert "\x1b[2J" not in ended.stderr + ended.stdout
    assert "\x1b[31m" not in ended.stderr + ended.stdout
    again = bucket.faces(SOURCE, "--out", OUT)
    assert again.exit_code == 1


def test_a_photo_that_a_proxy_finds_too_large_does_not_end_the_run(service: FakeService) -> None:
    bucket = Bucket("a.jpg", "b.jpg")
    service.answers = [(200, ANSWER), (413, b"<html>")]
    assert bucket.faces(SOURCE, "--out", OUT, "--concurrency", "1").exit_code == 1
    first, second = bucket.lines()
    assert (first["error"]["type"], first["error"]["status"]) == ("too-large", 413)
    assert second["faces"] == [FACE]


def test_of_many_errors_the_first_are_shown(service: FakeService) -> None:
    bucket = Bucket(*(f"{n:02}.jpg" for n in range(30)))
    service.answers = [(200, {"faces": []})]
    service.status = 415
    service.body = {"type": f"{PROBLEM}unsupported-image", "detail": "It is no image."}
    ended = bucket.faces(SOURCE, "--out", OUT)
    assert ended.stderr.count("It is no image.") == 20
    assert ended.stderr.count("Further errors are in the results only.") == 1
    assert "errors: 30 unsupported-image." in ended.stdout


@pytest.mark.parametrize(
    "answer",
    [
        (400, {"type": f"{PROBLEM}bad-request", "detail": "No."}),
        (401, {"type": f"{PROBLEM}unauthorized", "detail": "No."}),
        (403, {"type": f"{PROBLEM}forbidden", "detail": "No."}),
        (503, {"type": f"{PROBLEM}gallery-corrupt", "detail": "No."}),
        (500, b"<html>"),
    ],
)
def test_what_is_no_fault_of_a_photo_ends_the_run(
    service: FakeService, answer: tuple[int, Any]
) -> None:
    bucket = Bucket(*(f"{n:02}.jpg" for n in range(30)))
    service.answers = [(200, {"faces": []})]
    service.status, service.body = answer
    ended = bucket.faces(SOURCE, "--out", OUT, "--concurrency", "1")
    assert isinstance(ended.exception, ClientError)
    assert bucket.lines() == []
    assert len(service.asked) <= 3
    # The next run goes on.
    service.status, service.body = 200, ANSWER
    assert bucket.faces(SOURCE, "--out", OUT, "--concurrency", "8").exit_code == 0
    assert len(bucket.lines()) == 30


def test_a_busy_service_is_asked_again(service: FakeService) -> None:
    bucket = Bucket("a.jpg")
    busy = {"type": f"{PROBLEM}too-many-requests", "detail": "Slower."}
    overloaded = {"type": f"{PROBLEM}overloaded", "detail": "Later."}
    service.answers = [
        (200, {"faces": []}),
        *[(429, busy, {"Retry-After": "0"}), (503, overloaded, {"Retry-After": "0"})],
    ]
    assert bucket.faces(SOURCE, "--out", OUT).exit_code == 0
    assert len(service.asked) == 4


def test_a_service_that_is_not_there_is_told_at_once(
    service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACES_URL", "http://127.0.0.1:1")
    bucket = Bucket("a.jpg")
    ended = bucket.faces(SOURCE, "--out", OUT)
    assert isinstance(ended.exception, ClientError)
    assert "out/job.json" not in bucket.objects.objects


@pytest.mark.parametrize(
    "words",
    [
        (SOURCE,),
        ("photos", "--out", OUT),
        (SOURCE, "--out", "out"),
        (SOURCE, "--out", OUT, "--endpoint", "s3:9000"),
        (SOURCE, "--out", OUT, "--concurrency", "33"),
        (SOURCE, "--out", OUT, "--part-photos", "0"),
    ],
)
def test_wrong_usage(service: FakeService, words: tuple[str, ...]) -> None:
    assert Bucket().faces(*words).exit_code == 2


def test_a_collection_of_no_such_name(service: FakeService) -> None:
    ended = Bucket("a.jpg").faces(SOURCE, "--out", OUT, "--collection", "../x")
    assert isinstance(ended.exception, InvalidInput)
    assert service.asked == []
