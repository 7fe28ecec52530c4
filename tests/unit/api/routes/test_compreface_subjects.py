"""CompreFace's subjects: listing, adding, renaming and forgetting people by their names."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import yaml

from serving.gallery import Gallery
from serving.keys import hash_of
from serving.settings import KeySettings
from serving.valid_keys import Keys
from tests.support.api import Api
from tests.support.compreface import names, over, told
from tests.support.galleries import open_gallery
from tests.support.memory_store import MemoryStore
from tests.support.people import put

SUBJECTS = "/api/v1/recognition/subjects"


@pytest.fixture
def gallery() -> Gallery:
    made = open_gallery(MemoryStore())
    made.commit([put(1, name="Ada"), put(2, 2, name="Eve"), put(3), put(4, name="O/o")])
    return made


@pytest.fixture
def api(gallery: Gallery) -> Api:
    return over(gallery, Api(compreface=True))


@pytest.mark.parametrize("path", [SUBJECTS, f"{SUBJECTS}/", f"/collections/shop{SUBJECTS}"])
def test_all_are_listed_once(api: Api, gallery: Gallery, path: str) -> None:
    gallery.commit([put(9, name="Ada")])
    assert api.get(path).json() == {"subjects": ["Ada", "Eve", "O/o", "id:3"]}


def test_a_new_one_is_there_with_its_first_face(api: Api, gallery: Gallery) -> None:
    added = api.post(SUBJECTS, json={"subject": "Bo"})
    assert (added.status_code, added.json()["subject"]) == (201, "Bo")
    assert "first face" in added.json()["note"]
    assert len(names(gallery)) == 4
    assert told(api.post(SUBJECTS, json={"subject": "Ada"})) == (400, 43)


@pytest.mark.parametrize(
    "body",
    [{}, {"subject": ""}, {"subject": 7}, {"subject": "id:9"}, {"subject": "a\nb"}, [], "Ada"],
)
def test_what_is_no_name(api: Api, body: Any) -> None:
    for method, path in (("POST", SUBJECTS), ("PUT", f"{SUBJECTS}/Ada")):
        assert told(api.request(method, path, json=body)) == (400, 26)


def test_another_name(api: Api, gallery: Gallery, caplog: pytest.LogCaptureFixture) -> None:
    body = {"subject": "Bo", "api_endpoint": "Ada"}  # as the Python SDK sends it
    with caplog.at_level(logging.INFO, "faces.audit"):
        answer = api.request("PUT", f"{SUBJECTS}/Ada", json=body)
        assert (answer.status_code, answer.json()) == (200, {"updated": True})
        assert names(gallery)[1] == ("Bo", 1)
        api.request("PUT", f"{SUBJECTS}/O%2Fo", json={"subject": "Eve"})
        assert names(gallery)[2] == ("Eve", 3)
    records = [r.__dict__ for r in caplog.records if r.name == "faces.audit"]
    assert [(r["action"], r["ids"]) for r in records] == [("describe", [1]), ("merge", [2, 4])]
    assert told(api.request("PUT", f"{SUBJECTS}/Ada", json={"subject": "x"})) == (404, 42)


def test_one_and_all_are_forgotten(api: Api, gallery: Gallery) -> None:
    assert api.request("DELETE", f"{SUBJECTS}/Ada").json() == {"subject": "Ada"}
    assert api.request("DELETE", f"{SUBJECTS}/id:3").json() == {"subject": "id:3"}
    assert sorted(names(gallery)) == [2, 4]
    assert told(api.request("DELETE", f"{SUBJECTS}/Ada")) == (404, 42)
    assert told(api.request("DELETE", f"{SUBJECTS}/")) == (400, 26)
    assert api.request("DELETE", SUBJECTS).json() == {"deleted": 2}
    assert names(gallery) == {}


def test_of_several_with_the_name_none_is_changed(api: Api, gallery: Gallery) -> None:
    gallery.commit([put(9, name="Ada")])
    for method, body in (("DELETE", None), ("PUT", {"subject": "Bo"})):
        assert told(api.request(method, f"{SUBJECTS}/Ada", json=body)) == (409, 0)
    assert len(names(gallery)) == 5


def test_keys_may_do_what_they_may_do_elsewhere(
    gallery: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    entries = [
        {"name": scope, "hash": hash_of(scope), "scopes": [scope]}
        for scope in ("identify", "enrol", "admin")
    ]
    read = {"FACES_KEYS": yaml.safe_dump({"keys": entries})}.get
    api = over(gallery, Api(compreface=True, keys=Keys(KeySettings(required=True), read)))
    assert told(api.get(SUBJECTS)) == (401, 20)
    allowed = {
        ("GET", SUBJECTS): ["enrol", "admin"],
        ("DELETE", f"{SUBJECTS}/nobody"): ["admin"],
        ("PUT", f"{SUBJECTS}/nobody"): ["enrol", "admin"],
    }
    with caplog.at_level(logging.INFO, "faces.audit"):
        for (method, path), keys in allowed.items():
            for key in ("identify", "enrol", "admin"):
                body = {"subject": "x"} if method == "PUT" else None
                answer = api.request(method, path, headers={"x-api-key": key}, json=body)
                assert (answer.status_code != 403) == (key in keys), (method, path, key)
    refused = [r.__dict__["path"] for r in caplog.records if r.name == "faces.audit"]
    assert "nobody" not in " ".join(refused)


@pytest.mark.parametrize("subject", [".", ".."])
def test_nobody_is_called_as_a_step_in_a_path(gallery: Gallery, subject: str) -> None:
    """Clients shorten the path before they send it, so that a removal would be one of all."""
    api = over(gallery, Api(compreface=True))
    for answer in (
        api.post(SUBJECTS, json={"subject": subject}),
        api.request("PUT", f"{SUBJECTS}/Ada", json={"subject": subject}),
    ):
        assert answer.status_code == 400
        assert "another meaning in a path" in answer.json()["message"]
    assert names(gallery)[1] == ("Ada", 1)
