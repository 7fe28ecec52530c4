"""What pages of others let a browser send, where nobody needs a key."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import yaml
from starlette.datastructures import Headers

from serving.api.middleware.browsers import refusal
from serving.keys import hash_of, new_key
from serving.settings import AppArgs, KeySettings
from serving.stack.config import StackSettings, serve_config
from serving.valid_keys import Keys
from tests.support.api import Api, detail_of

# As a form of any page sends it, without asking the service before.
FORM = {"files": {"images": b"photo"}, "data": {"id": "7"}}
HERE = {"host": "localhost:8000"}


def enrol(api: Api, headers: dict[str, str]) -> httpx.Response:
    return api.post("/generate", headers={**HERE, **headers}, **FORM)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://localhost:3000"},
        {"sec-fetch-site": "cross-site", "origin": "http://localhost:8000"},
        {"sec-fetch-site": ""},
    ],
)
def test_a_page_of_another_origin_changes_nothing(headers: dict[str, str]) -> None:
    api = Api()
    answer = enrol(api, headers)
    detail_of(answer, 403)
    assert answer.json()["type"] == "urn:faces:problem:foreign-page"
    assert api.pipeline.asked == []
    for method, path in (("DELETE", "/identities/7"), ("PATCH", "/identities/7"), ("POST", "/x")):
        assert api.request(method, path, headers={**HERE, **headers}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://localhost:8000"},
        {"origin": "https://localhost:8000"},  # TLS ended on the way
        {"sec-fetch-site": "same-origin", "origin": "https://faces.example"},  # and Host changed
        {"sec-fetch-site": "none"},
    ],
)
def test_its_own_pages_and_programs_do(headers: dict[str, str]) -> None:
    assert enrol(Api(), headers).status_code == 200


def test_a_program_without_a_host_is_no_page_by_another_name() -> None:
    """HTTP/1.0 needs no Host, and every browser sends one."""
    assert refusal("POST", Headers({}), ["localhost"], keys=False) is None
    assert refusal("POST", Headers({"host": ""}), ["localhost"], keys=False) is not None


def test_what_changes_nothing_is_answered_and_not_shared() -> None:
    """The browser keeps the answer from a page that it is not for."""
    answer = Api().get("/v2/models/face-identification", headers={"origin": "https://evil.example"})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_with_keys_which_no_browser_sends_by_itself_pages_of_others_may_ask() -> None:
    key = new_key()
    entry = {"name": "page", "hash": hash_of(key), "scopes": ["enrol"]}
    text = yaml.safe_dump({"keys": [entry]})
    api = Api(keys=Keys(KeySettings(required=True), {"FACES_KEYS": text}.get))
    headers = {"origin": "https://app.example", "authorization": f"Bearer {key}"}
    assert enrol(api, headers).status_code == 200


class TestNames:
    @pytest.fixture
    def api(self) -> Api:
        return Api(hosts=("localhost", "faces.example"))

    @pytest.mark.parametrize(
        "host",
        [
            "localhost",
            "LOCALHOST:8000",
            "localhost.:8000",
            "faces.example",
            "127.0.0.1:8000",
            "[::1]:8000",
            "10.1.2.3",
        ],
    )
    def test_its_own_are_answered(self, api: Api, host: str) -> None:
        assert api.get("/v2/models/face-identification", headers={"host": host}).status_code == 200

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "[",
            "evil.example#localhost",
        ],
    )
    def test_by_another_nothing_is_told(self, api: Api, host: str) -> None:
        """A page whose name came to mean 127.0.0.1 is of the same origin as the service."""
        headers = {"host": host, "sec-fetch-site": "same-origin"}
        for method, path in (("GET", "/identities"), ("POST", "/infer"), ("GET", "/collections")):
            answer = api.request(method, path, headers=headers)
            assert "setting hosts" in detail_of(answer, 403)
            assert answer.json()["type"] == "urn:faces:problem:unknown-host"

    @pytest.mark.parametrize("path", ["/healthz", "/readyz"])
    def test_health_is_told_by_any(self, api: Api, path: str) -> None:
        assert api.get(path, headers={"host": "probe.example"}).status_code == 200

    def test_on_one_machine_it_is_localhost_and_elsewhere_any(self) -> None:
        (application,) = serve_config(StackSettings())["applications"]
        assert AppArgs.model_validate(application["args"]).hosts == ("localhost",)
        assert AppArgs().hosts is None

    @pytest.mark.parametrize("name", ["Localhost", "localhost:8000", "http://x", "", "*"])
    def test_what_no_browser_would_send_is_no_setting(self, name: str) -> None:
        args: dict[str, Any] = {"hosts": [name]}
        with pytest.raises(ValueError, match="hosts"):
            AppArgs.model_validate(args)
