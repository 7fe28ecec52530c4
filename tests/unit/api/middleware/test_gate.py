from __future__ import annotations

import asyncio
import base64
import dataclasses
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from serving import actor
from serving.keys import Scope, hash_of, new_key
from serving.matching.records import DuplicatesPage, GalleryStatus
from serving.settings import KeySettings
from serving.valid_keys import Keys
from serving.vision.records import Faces
from tests.support.api import Api, detail_of
from tests.support.stages import faces

KEYS = {scope.value: new_key() for scope in Scope}


def keys_of(**more: Any) -> Keys:
    entries = [
        {"name": name, "hash": hash_of(key), "scopes": [name], **more} for name, key in KEYS.items()
    ]
    text = yaml.safe_dump({"keys": entries})
    return Keys(KeySettings(required=True), {"FACES_KEYS": text}.get)


def bearer(scope: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[scope]}"}


def infer(api: Api, headers: dict[str, str], path: str = "/infer") -> httpx.Response:
    return api.post(path, content=b"photo", headers={"Content-Type": "image/jpeg", **headers})


def test_without_keys_everybody_may_ask() -> None:
    assert infer(Api(), {}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer nobody"},
        {"Authorization": f"Basic {KEYS['admin']}"},
        {"X-API-Key": ""},
        {"X-API-Key": "nobody"},
    ],
)
def test_without_a_valid_key_nothing_is_asked(headers: dict[str, str]) -> None:
    api = Api(keys=keys_of())
    answer = infer(api, headers)
    assert "key" in detail_of(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert api.pipeline.asked == []


@pytest.mark.parametrize("headers", [bearer("identify"), {"X-API-Key": KEYS["identify"]}])
def test_a_key_comes_as_a_bearer_token_or_in_a_header_of_its_own(headers: dict[str, str]) -> None:
    assert infer(Api(keys=keys_of()), headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer {identify}"), ("X-API-Key", "{admin}")],
        [("Authorization", "Bearer nobody"), ("X-API-Key", "{admin}")],
        [("Authorization", "Bearer {admin}"), ("X-API-Key", "nobody")],
        [("Authorization", "Bearer {admin}"), ("Authorization", "Bearer {identify}")],
        [("X-API-Key", "{identify}"), ("X-API-Key", "{admin}")],
    ],
)
def test_keys_that_differ_are_refused(headers: list[tuple[str, str]]) -> None:
    api = Api(keys=keys_of())
    sent = [("Content-Type", "image/jpeg"), *((n, v.format(**KEYS)) for n, v in headers)]
    assert "differ" in detail_of(api.post("/infer", content=b"photo", headers=sent), 400)
    assert api.pipeline.asked == []
    # An open route is answered as without a key.
    assert api.get("/readyz", headers=sent).json() == api.get("/readyz").json()


@pytest.mark.parametrize(
    "headers",
    [
        {**bearer("identify"), "X-API-Key": KEYS["identify"]},
        {**bearer("identify"), "X-API-Key": ""},
        {"Authorization": "Basic dXNlcjo=", "X-API-Key": KEYS["identify"]},
        {"Authorization": "Bearer ", "X-API-Key": KEYS["identify"]},
    ],
)
def test_one_key_in_two_headers_is_one_key(headers: dict[str, str]) -> None:
    assert infer(Api(keys=keys_of()), headers).status_code == 200


def test_a_body_is_not_read_before_the_key() -> None:
    api = Api(keys=keys_of(), max_body_bytes=10)
    big = {"content": b"x" * 100, "headers": {"Content-Type": "image/jpeg"}}
    assert api.post("/infer", **big).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/infer", {"identify", "admin"}),
        ("POST", "/generate", {"enrol", "admin"}),
        ("GET", "/identities", {"enrol", "admin"}),
        ("PATCH", "/identities/7", {"enrol", "admin"}),
        ("POST", "/identities/7/merge", {"enrol", "admin"}),
        ("GET", "/identities/7/photos", {"enrol", "admin"}),
        ("POST", "/identities/7/move", {"enrol", "admin"}),
        ("POST", "/identities/7/distinct", {"enrol", "admin"}),
        ("DELETE", "/identities/7/distinct/8", {"enrol", "admin"}),
        ("POST", "/identities/7/unmerge", {"enrol", "admin"}),
        ("POST", "/identities/7/undo", {"enrol", "admin"}),
        ("POST", "/identities/7/embeddings", {"enrol", "admin"}),
        ("DELETE", "/identities/7", {"admin"}),
        ("DELETE", "/identities", {"admin"}),
        ("POST", "/nothing/here", {"admin"}),
    ],
)
def test_a_scope_opens_what_it_is_for(method: str, path: str, allowed: set[str]) -> None:
    api = Api(keys=keys_of())
    for name in KEYS:
        answer = api.request(method, path, headers=bearer(name), content=b"{")
        assert (answer.status_code != 403) == (name in allowed), (name, answer.text)


def test_health_and_the_description_are_open() -> None:
    api = Api(keys=keys_of())
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        assert api.get(path).status_code == 200


def test_the_caller_goes_with_what_is_asked() -> None:
    """Stages take their callers in turns, by these names."""

    def caller(api: Api, headers: dict[str, str]) -> str | None:
        actors: list[str | None] = []

        async def faces_of(data: bytes, *more: Any) -> Faces:
            actors.append(actor.current())
            return faces((10, 60, 110, 160))

        api.pipeline.faces = faces_of  # type: ignore[method-assign,assignment]
        assert infer(api, headers, "/detect").status_code == 200
        return actors[0]

    keys = keys_of()
    assert caller(Api(keys=keys), bearer("identify")) == "key:identify"
    assert caller(Api(keys=keys), bearer("admin")) == "key:admin"
    assert caller(Api(), {}) == "anonymous"
    assert actor.current() is None


def test_duplicates_are_for_who_enrols_and_within_his_collections() -> None:
    api = Api(keys=keys_of(collections=["shop"]))
    asked: list[str] = []

    async def duplicates(collection: str, *more: Any) -> DuplicatesPage:
        asked.append(collection)
        return DuplicatesPage([], 0, None, 0.5, 0, 1)

    api.register.duplicates = duplicates  # type: ignore[method-assign,assignment]
    path = "/duplicates"
    assert "scope enrol" in detail_of(api.get(path, headers=bearer("identify")), 403)
    assert "'default'" in detail_of(api.get(path, headers=bearer("enrol")), 403)
    answer = api.get(f"/collections/shop{path}", headers=bearer("enrol"))
    assert answer.json()["duplicates"] == []
    assert asked == ["shop"]


def test_a_key_reaches_only_its_collections() -> None:
    api = Api(keys=keys_of(collections=["shop"]))
    assert "'default'" in detail_of(infer(api, bearer("identify")), 403)
    assert infer(api, bearer("identify"), "/collections/shop/infer").status_code == 200
    assert api.pipeline.collections == ["shop"]
    assert "all collections" in detail_of(api.get("/collections", headers=bearer("admin")), 403)
    assert "'bank'" in detail_of(infer(api, bearer("admin"), "/collections/bank/infer"), 403)


def test_a_key_of_any_collection_may_ask_what_is_about_none() -> None:
    api = Api(keys=keys_of(collections=["shop"]))
    jpeg = {"Content-Type": "image/jpeg", **bearer("identify")}
    assert api.post("/detect", content=b"photo", headers=jpeg).status_code == 200
    photos = {"image_a": b"photo", "image_b": b"photo"}
    assert api.post("/verify", files=photos, headers=bearer("identify")).status_code == 200
    assert api.post("/detect", content=b"photo", headers=bearer("enrol")).status_code == 403


@pytest.mark.parametrize("path", ["/v2/models/face-identification", "/infer", "/nowhere"])
def test_no_cache_keeps_what_is_told(path: str) -> None:
    for api in (Api(), Api(keys=keys_of())):  # an answer, or a refusal
        headers = api.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/infer/", "/identities/"])
def test_nobody_is_sent_elsewhere(path: str) -> None:
    answer = Api().post(path, headers={"host": "evil.example"})
    detail_of(answer, 404)
    assert "location" not in answer.headers


def test_a_rate_is_kept_and_says_when_to_come_back() -> None:
    api = Api(keys=keys_of(rate=0.5))
    assert infer(api, bearer("identify")).status_code == 200
    answer = infer(api, bearer("identify"))
    detail_of(answer, 429)
    assert answer.headers["retry-after"] == "2"
    assert infer(api, bearer("admin")).status_code == 200  # each key for itself


def test_photos_of_many_faces_count_for_more(caplog: pytest.LogCaptureFixture) -> None:
    api = Api(keys=keys_of(rate=2))
    mosaics = Inference([b"photo"] * 32)
    api.pipeline.found[b"photo"] = dataclasses.replace(faces((1, 2, 30, 40)), more=799)
    with caplog.at_level("INFO", "serving.access"):
        answer = api.post(mosaics.path, json=mosaics.body, headers=bearer("identify"))
    assert answer.status_code == 200
    assert answer.json()["parameters"]["more_faces"] is True
    assert vars(caplog.records[-1])["units"] == 32 * 80
    wait = int(infer(api, bearer("identify")).headers["retry-after"])
    assert wait == pytest.approx(32 * 80 / 2, abs=2)
    assert infer(api, bearer("admin")).status_code == 200


class Inference:
    """A request of these photos below /v2."""

    path = "/v2/models/face-identification/infer"

    def __init__(self, photos: list[bytes]) -> None:
        data = [base64.b64encode(photo).decode() for photo in photos]
        image = {"name": "IMAGE", "datatype": "BYTES", "shape": [len(photos)], "data": data}
        self.body = {"inputs": [image]}


def test_the_log_tells_whose_key_was_refused(caplog: pytest.LogCaptureFixture) -> None:
    api = Api(keys=keys_of(collections=["shop"], rate=0.01))
    with caplog.at_level("INFO", "serving.access"):
        for path in ("/generate", "/infer"):  # by its scope; by its rate
            infer(api, bearer("identify"), path)
        infer(api, {})
    told = [vars(r) for r in caplog.records if r.name == "serving.access"]
    assert [(x["status"], x.get("key")) for x in told] == [
        (403, "identify"),
        (429, "identify"),
        (401, None),
    ]


def test_more_in_flight_than_allowed_are_sent_away_and_health_is_told() -> None:
    api = Api(max_in_flight=2)
    api.pipeline.seconds = 0.3

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://faces") as client:
            headers = {"Content-Type": "image/jpeg"}
            asked = [client.post("/infer", content=b"x", headers=headers) for _ in range(3)]
            return await asyncio.gather(*asked, client.get("/healthz"))

    *answers, health = asyncio.run(ask())
    assert sorted(a.status_code for a in answers) == [200, 200, 503]
    refused = next(a for a in answers if a.status_code == 503)
    assert refused.headers["retry-after"]
    assert health.status_code == 200
    assert infer(api, {}).status_code == 200  # the places are free again


async def at_once(api: Api, *requests: tuple[str, str, dict[str, str]]) -> list[httpx.Response]:
    transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://faces") as client:
        return await asyncio.gather(
            *(
                client.request(method, path, headers={"Content-Type": "image/jpeg", **headers})
                for method, path, headers in requests
            )
        )


def test_a_key_that_takes_its_share_leaves_the_other_places() -> None:
    api = Api(keys=keys_of(), max_in_flight=8)
    api.pipeline.seconds = 0.3
    greedy = [("POST", "/infer", bearer("identify"))] * 8
    *answers, other = asyncio.run(at_once(api, *greedy, ("POST", "/infer", bearer("admin"))))
    assert sorted(a.status_code for a in answers) == [200] * 2 + [429] * 6
    refused = next(a for a in answers if a.status_code == 429)
    assert "2 requests under way" in detail_of(refused, 429)
    assert refused.headers["retry-after"] == "1"
    assert other.status_code == 200
    assert infer(api, bearer("identify")).status_code == 200


def test_callers_without_a_key_have_a_share_beside_the_keys() -> None:
    api = Api(keys=keys_of(), max_in_flight=8)

    async def ready() -> dict[str, str]:
        await asyncio.sleep(0.3)
        return {"stages": "ok", "triton": "ok", "gallery": "none"}

    api.pipeline.ready = ready  # type: ignore[method-assign,assignment]
    others = [("POST", "/infer", bearer("admin")), ("GET", "/healthz", {})]
    answers = asyncio.run(at_once(api, *[("GET", "/readyz", {})] * 5, *others))
    *asked, busy = sorted(answers[:5], key=lambda a: "Retry-After" in a.headers)[:3]
    assert [a.headers.get("retry-after") for a in asked] == [None] * 2
    assert "without a key" in detail_of(busy, 503)
    assert [a.status_code for a in answers[5:]] == [200, 200]


@pytest.mark.parametrize(
    ("path", "collection"),
    [("/infer", "default"), ("/collections/shop/infer", "shop"), ("/collections/0-9/infer", "0-9")],
)
def test_the_path_says_the_collection(path: str, collection: str) -> None:
    api = Api()
    assert infer(api, {}, path).status_code == 200
    assert api.pipeline.collections == [collection]


@pytest.mark.parametrize("name", ["Shop", "-a", "a-", "a.b", "a" * 64, "%2e%2e", "a%2Fb", "ä"])
def test_a_name_that_is_none_reaches_nothing(name: str) -> None:
    api = Api()
    answer = infer(api, {}, f"/collections/{name}/infer")
    assert answer.status_code in (400, 404)
    detail_of(answer, answer.status_code)
    assert api.pipeline.asked == []


@pytest.mark.parametrize("path", ["healthz", "readyz", "detect", "verify", "docs", "collections"])
def test_only_what_is_about_a_gallery_is_in_a_collection(path: str) -> None:
    assert Api().get(f"/collections/shop/{path}").status_code == 404


def test_an_error_within_a_collection_has_the_form_of_its_protocol() -> None:
    answer = Api().post("/collections/shop/v2/models/face-identification/infer", content=b"{")
    assert answer.status_code == 400
    assert answer.json().keys() == {"error"}


@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/health/ready"])
def test_a_client_of_the_protocol_may_have_a_collection_as_its_base(path: str) -> None:
    api = Api(keys=keys_of(collections=["shop"]))
    assert api.get(path).status_code == 200
    assert api.get(f"/collections/shop{path}").status_code == 401
    assert api.get(f"/collections/shop{path}", headers=bearer("identify")).status_code == 200
    assert api.get(f"/collections/bank{path}", headers=bearer("identify")).status_code == 403


@pytest.mark.parametrize("path", ["/identities%2F7", "/identities/7%0A", "//identities/7"])
def test_a_spelling_of_the_path_opens_nothing(path: str) -> None:
    api = Api(keys=keys_of())
    for method in ("GET", "HEAD", "PATCH", "DELETE"):
        assert api.request(method, path).status_code == 401
        assert api.request(method, path, headers=bearer("identify")).status_code == 403
    assert api.request("DELETE", path, headers=bearer("enrol")).status_code == 403


def test_an_encoded_slash_does_not_lead_into_another_collection() -> None:
    api = Api(keys=keys_of(collections=["shop"]))
    assert infer(api, bearer("identify"), "/collections%2Fbank/infer").status_code == 403
    assert infer(api, bearer("identify"), "/collections%2Fshop/infer").status_code == 403
    assert api.pipeline.collections == []


class TestReadiness:
    def test_without_a_key_it_says_only_which_part(self) -> None:
        api = Api(keys=keys_of())
        api.pipeline.state["gallery"] = GalleryStatus(True, 17, 2, 5, "galleries/x is damaged.")
        api.pipeline.state["triton"] = "Triton at http://triton:8000 cannot be reached."
        for headers in ({}, {"Authorization": "Bearer nobody"}):
            answer = api.get("/readyz", headers=headers)
            assert answer.status_code == 503
            body = answer.json()
            sentence = body["checks"]["triton"]
            assert sentence.startswith("not ready")
            assert body == {
                "ready": False,
                "checks": {"stages": "ok", "triton": sentence, "gallery": sentence, "keys": "ok"},
            }
        probe = api.get("/v2/health/ready")
        assert probe.json() == {"error": "The model is not ready."}
        assert probe.status_code == 503

    def test_with_any_key_of_the_default_collection_it_says_all(self) -> None:
        api = Api(keys=keys_of())
        api.pipeline.state["triton"] = "Triton at http://triton:8000 cannot be reached."
        for name in KEYS:
            answer = api.get("/readyz", headers=bearer(name))
            checks = answer.json()["checks"]
            assert checks["gallery"]["people"] == 2
            assert "http://triton:8000" in checks["triton"]
            assert answer.headers["cache-control"] == "no-store"
        probe = api.get("/v2/health/ready", headers=bearer("identify"))
        assert "http://triton:8000" in probe.json()["error"]

    def test_a_key_of_another_collection_counts_as_none(self) -> None:
        api = Api(keys=keys_of(collections=["shop"]))
        checks = api.get("/readyz", headers=bearer("admin")).json()["checks"]
        assert checks == dict.fromkeys(("stages", "triton", "gallery", "keys"), "ok")
        api.pipeline.state["triton"] = "Triton at http://triton:8000 cannot be reached."
        path = "/collections/shop/v2/models/face-identification/ready"
        answer = api.get(path, headers=bearer("admin"))
        assert (answer.status_code, answer.json()["error"]) == (503, "The model is not ready.")

    def test_where_no_keys_are_needed_all_is_said(self) -> None:
        checks = Api().get("/readyz").json()["checks"]
        assert checks["gallery"]["people"] == 2
        assert "keys" not in checks

    def test_something_wrong_in_the_key_file_is_said_and_keeps_nobody_out(
        self, tmp_path: Path
    ) -> None:
        entries = [
            {"name": "kiosk", "hash": hash_of(KEYS["identify"]), "scopes": ["identify"]},
            {"name": "desk", "hash": hash_of(KEYS["enrol"]), "scopes": ["enroll"]},
        ]
        file = tmp_path / "keys.yaml"
        file.write_text(yaml.safe_dump({"keys": entries}))
        api = Api(keys=Keys(KeySettings(required=True, file=str(file))))
        answer = api.get("/readyz")
        assert answer.status_code == 200
        assert answer.json()["checks"]["keys"].startswith("not ready")
        told = api.get("/readyz", headers=bearer("identify")).json()["checks"]["keys"]
        assert "log" in told
        assert "desk" not in told
        assert infer(api, bearer("identify")).status_code == 200
