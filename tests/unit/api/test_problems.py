"""Every failure is a problem with a request id; and what the API says of itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from serving import deadline
from serving.errors import CommitConflict, Overloaded, ServingError, Unavailable, UnknownIdentity
from serving.matching import records
from serving.matching.records import GalleryStatus
from serving.pipeline.reports import NoFaceInAny, PhotoReport
from tests.support.api import Api, detail_of

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture
def api() -> Api:
    return Api()


def infer(api: Api, **headers: str) -> httpx.Response:
    return api.post("/infer", content=b"photo", headers={**JPEG, **headers})


@pytest.mark.parametrize(
    ("path", "served"),
    [
        ("/infer/", True),
        ("/identities/7/", True),
        ("/collections/shop/identities/", True),
        ("/v2/", True),
        ("/nowhere/", False),
        ("/nowhere", False),
    ],
)
def test_a_slash_too_many_is_named(api: Api, path: str, served: bool) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert ("leave out the slash" in answer.text) is served


def test_the_places_of_parameters_are_not_told(api: Api) -> None:
    for path, sentence in (
        ("/identities?limit=0", "limit: Input should be greater than or equal to 1."),
        ("/identities/-1", "id: Input should be greater than or equal to 0."),
    ):
        assert detail_of(api.get(path), 400) == sentence
    assert detail_of(api.request("DELETE", "/identities"), 400) == "confirm: Field required."


@pytest.mark.parametrize(
    ("failure", "status", "retry_after"),
    [
        (UnknownIdentity("Nobody is enrolled as 7."), 404, None),
        (CommitConflict("Try again."), 409, "1"),
        (Unavailable("The store is away."), 503, "2"),
        (Overloaded("Too many wait."), 503, "1"),
        (ServingError("A mistake."), 500, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_our_errors_are_told_with_status_type_and_retry_after(
    api: Api, failure: ServingError, status: int, retry_after: str | None
) -> None:
    api.pipeline.failure = failure
    answer = infer(api)
    assert detail_of(answer, status) == str(failure)
    assert answer.json()["type"] == f"urn:faces:problem:{failure.type}"
    assert answer.headers.get("retry-after") == retry_after


def test_a_bug_is_told_without_its_traceback_and_logged_with_it(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.pipeline.failure = ZeroDivisionError("at /srv/secret.py")
    with caplog.at_level(logging.ERROR, "serving"):
        answer = infer(api, **{"x-request-id": "abc-1"})
    detail_of(answer, 500)
    assert "secret" not in answer.text
    assert answer.json()["request_id"] == "abc-1"
    (record,) = caplog.records
    assert "abc-1" in record.getMessage()
    assert record.exc_info is not None


def test_what_takes_too_long_is_broken_off() -> None:
    api = Api(timeout_s=0.05)
    api.pipeline.seconds = 10.0
    assert "0.05 s" in detail_of(infer(api), 504)
    detail_of(api.post("/generate?id=7", content=b"photo", headers=JPEG), 504)
    detail_of(api.get("/readyz"), 504)


def test_a_body_that_never_comes_is_broken_off() -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(10)

    answer = Api(timeout_s=0.5).post("/infer", content=stalling(), headers=JPEG)
    assert detail_of(answer, 408) == "The request did not arrive within 0.5 s."


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/identities/7"),
        ("POST", "/identities/7/merge"),
        ("POST", "/identities/7/embeddings"),
        ("POST", "/generate"),
        ("POST", "/verify"),
        ("POST", "/v2/models/face-identification/infer"),
    ],
)
def test_a_body_that_drips_holds_no_place_for_longer_than_a_request_may_take(
    method: str, path: str
) -> None:
    """Each drop comes soon after the last one."""

    async def dripping() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.005)

    api = Api(timeout_s=0.5, max_in_flight=1)
    headers = {"content-type": "application/json"}
    answer = api.request(method, path, content=dripping(), headers=headers)
    assert answer.status_code == 408, answer.text
    assert api.post("/detect", content=b"photo", headers=JPEG).status_code == 200


def test_the_time_for_an_answer_begins_with_the_request() -> None:
    """Not with each of the steps, of which a change has two."""
    api = Api(timeout_s=1)
    asked = []

    async def describe(*args: object) -> int:
        asked.append(deadline.current())
        await asyncio.sleep(0.1)
        return 18

    async def person(*args: object) -> None:
        asked.append(deadline.current())
        await asyncio.sleep(10)

    api.register.describe = describe  # type: ignore[method-assign,assignment]
    api.register.person = person  # type: ignore[method-assign,assignment]
    answer = api.request("PATCH", "/identities/7", json={"name": "Ada"})
    assert "version 18" in detail_of(answer, 503)
    assert asked[0] == asked[1]


@pytest.mark.parametrize("path", ["/nowhere", "/generate/7"])
def test_what_does_not_exist(api: Api, path: str) -> None:
    detail_of(api.post(path), 404)


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/collections/shop", "/collections/shop/"])
def test_how_a_collection_comes_and_goes_is_told(api: Api, method: str, path: str) -> None:
    detail = detail_of(api.request(method, path), 404)
    assert "there from its first enrolment on" in detail
    assert "all of its people are removed" in detail


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/infer", "POST"),
        ("OPTIONS", "/verify", "POST"),
        ("PROPFIND", "/healthz", "HEAD, GET"),
        ("PUT", "/identities/7", "HEAD, GET, PATCH, DELETE"),
        ("POST", "/identities", "HEAD, GET, DELETE"),
        ("POST", "/docs", "HEAD, GET"),
    ],
)
def test_the_wrong_method_is_told_the_right_ones(
    api: Api, method: str, path: str, allowed: str
) -> None:
    answer = api.request(method, path)
    assert allowed in detail_of(answer, 405)
    assert answer.headers["allow"] == allowed


class TestHead:
    @pytest.mark.parametrize(
        "path", ["/healthz", "/readyz", "/openapi.json", "/v2/health/live", "/nowhere", "/infer"]
    )
    def test_it_is_a_get_without_a_body(self, api: Api, path: str) -> None:
        head, get = api.request("HEAD", path), api.get(path)
        assert head.content == b""
        assert head.status_code == get.status_code
        assert {k: v for k, v in head.headers.items() if k != "content-length"} == {
            k: v for k, v in get.headers.items() if k != "content-length"
        }


class TestRequestId:
    def test_the_callers_own_is_kept(self, api: Api) -> None:
        assert api.get("/no", headers={"x-request-id": "abc-1"}).json()["request_id"] == "abc-1"

    def test_each_request_without_one_gets_its_own(self, api: Api) -> None:
        first, second = (api.get("/no").json()["request_id"] for _ in range(2))
        assert first != second


class TestLongBodies:
    LIMIT = 1000

    @pytest.fixture
    def api(self) -> Api:
        return Api(max_body_bytes=self.LIMIT)

    def test_an_announced_length_is_refused_before_a_byte_is_read(self, api: Api) -> None:
        read: list[int] = []

        async def body() -> AsyncIterator[bytes]:
            read.append(1)
            yield b"x"

        length = {"content-length": str(self.LIMIT + 1)}
        detail_of(api.post("/infer", content=body(), headers={**JPEG, **length}), 413)
        assert not read

    @pytest.mark.parametrize("length", ["9" * 18, "9" * 5000])
    def test_however_long_it_is_announced(self, api: Api, length: str) -> None:
        headers = {**JPEG, "content-length": length}
        detail_of(api.post("/infer", content=b"x", headers=headers), 413)

    def test_a_length_that_is_none_is_left_to_the_server(self, api: Api) -> None:
        headers = [
            *((k.encode(), v.encode()) for k, v in JPEG.items()),
            (b"content-length", b"\xb2"),
        ]
        assert api.post("/infer", content=b"x", headers=headers).status_code == 200

    @pytest.mark.parametrize(
        "kind", ["image/jpeg", "application/json", "multipart/form-data; boundary=x"]
    )
    def test_a_body_of_unknown_length_is_ended_at_the_limit(self, api: Api, kind: str) -> None:
        read: list[int] = []

        async def endless() -> AsyncIterator[bytes]:
            start = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
            yield start if kind.startswith("multipart") else b"x"
            while True:
                read.append(100)
                yield b"x" * 100

        answer = api.post("/infer", content=endless(), headers={"content-type": kind})
        detail_of(answer, 413)
        assert sum(read) <= self.LIMIT + 100
        assert not api.pipeline.asked

    def test_the_limit_itself_is_allowed(self, api: Api) -> None:
        assert api.post("/infer", content=bytes(self.LIMIT), headers=JPEG).status_code == 200

    def test_a_short_announcement_does_not_open_the_door(self, api: Api) -> None:
        length = {"content-length": "5"}
        answer = api.post("/infer", content=bytes(self.LIMIT * 2), headers={**JPEG, **length})
        detail_of(answer, 413)

    def test_one_that_is_never_read_is_refused_as_no_body_is_taken(self, api: Api) -> None:
        answer = api.get("/healthz", headers={"content-length": str(self.LIMIT + 1)})
        assert "no body" in detail_of(answer, 400)


def test_an_enrolment_without_a_face_says_why_for_each_photo(api: Api) -> None:
    api.pipeline.failure = NoFaceInAny(
        [
            PhotoReport(None, 0, "No face was found."),
            PhotoReport(None, 0, "This is no image."),
        ]
    )
    answer = api.post("/generate?id=7", content=b"photo", headers=JPEG)
    detail_of(answer, 422)
    assert answer.json()["type"] == "urn:faces:problem:no-usable-face"
    assert [(i["used"], i["reason"]) for i in answer.json()["images"]] == [
        (False, "No face was found."),
        (False, "This is no image."),
    ]


def test_an_enrolment_that_is_refused_says_what_speaks_against_it(api: Api) -> None:
    api.pipeline.refused = True
    kind = records.ConflictKind.ALREADY_ENROLLED
    api.pipeline.conflicts = [records.Conflict(kind, (0,), 0.8, 0.99, 2**63 - 1, "Eve")]
    answer = api.post("/generate?id=7", content=b"photo", headers=JPEG)
    assert "contradict" in detail_of(answer, 409)
    body = answer.json()
    assert body["type"] == "urn:faces:problem:enrolment-conflict"
    (conflict,) = body["conflicts"]
    assert (conflict["type"], conflict["images"]) == ("already-enrolled", [0])
    assert (conflict["id"], conflict["name"]) == (2**63 - 1, "Eve")
    assert [i["used"] for i in body["images"]] == [True]
    forced = api.post("/generate?id=7&force=true", content=b"photo", headers=JPEG)
    assert forced.status_code == 200
    assert len(forced.json()["conflicts"]) == 1


@pytest.mark.parametrize("path", ["/infer", "/generate?id=7"])
def test_answers_say_where_their_time_went(api: Api, path: str) -> None:
    timing = api.post(path, content=b"photo", headers=JPEG).headers["server-timing"]
    stages = dict(part.split(";dur=") for part in timing.split(", "))
    assert stages.keys() == {"read", "detect"}
    assert all(float(ms) >= 0 for ms in stages.values())


class TestHealth:
    def test_alive_asks_nobody(self, api: Api) -> None:
        api.pipeline.state = {}
        answer = api.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})

    def test_ready_tells_what_is_held(self, api: Api) -> None:
        answer = api.get("/readyz")
        assert answer.status_code == 200
        assert answer.json() == {
            "ready": True,
            "checks": {
                "stages": "ok",
                "triton": "ok",
                "gallery": {
                    "loaded": True,
                    "version": 17,
                    "people": 2,
                    "photos": 5,
                    "problem": None,
                },
            },
        }

    @pytest.mark.parametrize("gallery", ["A replica went away.", GalleryStatus(False, 0, 0, 0, "")])
    def test_without_the_gallery_it_is_not_ready(
        self, api: Api, gallery: str | GalleryStatus
    ) -> None:
        api.pipeline.state["gallery"] = gallery
        answer = api.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["ready"] is False
        assert answer.json()["checks"]["triton"] == "ok"

    def test_without_triton_it_is_not_ready_and_says_why(self, api: Api) -> None:
        api.pipeline.state["triton"] = "Triton cannot be reached."
        answer = api.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["triton"] == "Triton cannot be reached."

    def test_while_a_stage_starts_it_is_not_ready(self, api: Api) -> None:
        api.pipeline.state["stages"] = "A stage is still starting."
        assert api.get("/readyz").status_code == 503

    def test_people_in_memory_are_enough_to_be_ready(self, api: Api) -> None:
        api.pipeline.state["gallery"] = GalleryStatus(True, 17, 2, 5, "The store is away.")
        assert api.get("/readyz").status_code == 200


class TestOpenApi:
    def test_every_form_of_a_body_is_described(self, api: Api) -> None:
        paths = api.get("/openapi.json").json()["paths"]
        for path, required in (("/infer", ["image"]), ("/generate", ["id", "images"])):
            content = paths[path]["post"]["requestBody"]["content"]
            assert content.keys() == {"application/json", "multipart/form-data", "image/*"}
            assert content["application/json"]["schema"]["required"] == required
            assert sorted(content["multipart/form-data"]["schema"]["required"]) == required

    def test_options_may_come_in_the_query(self, api: Api) -> None:
        parameters = api.get("/openapi.json").json()["paths"]["/infer"]["post"]["parameters"]
        assert [p["name"] for p in parameters] == ["top_k", "threshold", "max_faces"]
        assert {p["in"] for p in parameters} == {"query"}

    def test_no_reference_leads_nowhere(self, api: Api) -> None:
        document = api.get("/openapi.json").json()

        def check(node: object) -> int:
            if isinstance(node, list):
                return sum(check(value) for value in node)
            if not isinstance(node, dict):
                return 0
            if isinstance(ref := node.get("$ref"), str):
                target = document
                assert ref.startswith("#/")
                for part in ref[2:].split("/"):
                    target = target[part]
                return 1
            return sum(check(value) for value in node.values())

        assert check(document) > 0

    def test_errors_are_described_as_problems(self, api: Api) -> None:
        answers = api.get("/openapi.json").json()["paths"]["/infer"]["post"]["responses"]
        schema = answers["default"]["content"]["application/problem+json"]["schema"]
        assert schema["$ref"].endswith("/Problem")

    def test_the_page_for_people_is_there(self, api: Api) -> None:
        assert api.get("/docs").status_code == 200


def test_the_first_version_of_the_inference_protocol_is_told_of_the_second() -> None:
    for path in ("/v1/models", "/v1/models/face-identification:predict"):
        answer = Api().post(path, json={"instances": []})
        assert answer.status_code == 404
        assert "version 2 of the Open Inference Protocol" in answer.json()["detail"]
