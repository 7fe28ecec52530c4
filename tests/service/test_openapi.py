"""What the API says of itself is what it does: every example is carried out, and made-up input."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from serving.api.example_photos import OTHER_PHOTO
from tests.support.api import EXAMPLES, Api

JSON = "application/json"
# The document itself needs no server; what it describes is asked of the real one.
# It knows no NDJSON; each line of a stream is the body of a request that is made up here, too.
MADE_UP = schemathesis.openapi.from_dict(Api().get("/openapi.json").json()).exclude(
    path_regex="/stream$"
)
# That no request is refused which fits the schema is not among them: base64 of no image fits.
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.unsupported_method,
]


@pytest.fixture(scope="module")
def document(api: httpx.Client) -> dict[str, Any]:
    return dict(api.get("/openapi.json").json())


@pytest.fixture(scope="module")
def told() -> list[int]:
    """The gallery's version when all people of the examples were last there; empty: never."""
    return []


@pytest.fixture(autouse=True)
def people(api: httpx.Client, told: list[int]) -> None:
    """Those of whom the examples speak, anew after each test that has changed the gallery."""
    if told == [version_of(api)]:
        return
    api.delete("/identities", params={"confirm": "all"}).raise_for_status()
    for person in (2576, 104):
        # More than one, so that the others that are added below do not make two people of them.
        body = {"id": person, "images": [{"image": OTHER_PHOTO}] * 3}
        api.post("/generate", json=body).raise_for_status()
        details = EXAMPLES["patch", "/identities/{id}"].body
        api.patch(f"/identities/{person}", json=details).raise_for_status()
    embedding = EXAMPLES["post", "/identities/{id}/embeddings"].body
    api.post("/identities/2576/embeddings", json=embedding).raise_for_status()
    other = {**embedding, "embeddings": [[0.0, 1.0] + [0.0] * 510]}
    api.post("/identities/105/embeddings", json=other).raise_for_status()
    api.post("/identities/2576/merge", json={"from": [105]}).raise_for_status()
    api.post("/identities/106/embeddings", json=other).raise_for_status()
    api.patch("/identities/106", json=details).raise_for_status()
    pair = EXAMPLES["post", "/identities/{id}/distinct"].body
    for person in (2576, 104):
        api.post(f"/identities/{person}/distinct", json=pair).raise_for_status()
    told[:] = [version_of(api)]


@pytest.mark.parametrize(("method", "path"), EXAMPLES, ids=str)
def test_an_example_is_answered_as_described(
    api: httpx.Client, document: dict[str, Any], method: str, path: str
) -> None:
    operation = document["paths"][path][method]
    places: dict[str, dict[str, Any]] = {"path": {}, "query": {}}
    for parameter in operation.get("parameters", []):
        if "example" in parameter:
            places[parameter["in"]][parameter["name"]] = parameter["example"]
    if path in ("/infer", "/infer/stream"):  # the example is of somebody who is enrolled once
        api.delete("/identities/104").raise_for_status()
    if path == "/audit":
        # Of who was erased within the hour, as by other examples, the audit tells no id.
        path = "/collections/looked-up/audit"
        look_up(api, "/collections/looked-up")
    example = EXAMPLES[method, path if path in document["paths"] else "/audit"]
    takes = operation.get("requestBody", {"content": {example.media: {"example": None}}})
    sent = takes["content"][example.media]["example"]
    answer = api.request(
        method,
        path.format(**places["path"]),
        params=places["query"],
        content=None if sent is None else json.dumps(sent),
        headers={} if sent is None else {"content-type": example.media},
    )
    assert answer.status_code == 200, answer.text
    described = operation["responses"]["200"]["content"][example.media]
    schema = {**described["schema"], "components": document["components"]}
    answered, *end = [json.loads(line) for line in answer.text.splitlines()]
    for line in (answered, *end):
        jsonschema.Draft202012Validator(schema).validate(line)
    assert alike(answered, described["example"])


@MADE_UP.parametrize()
@settings(max_examples=20, derandomize=True, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_is_answered_as_described(case: Any, api: httpx.Client) -> None:
    case.call_and_validate(base_url=str(api.base_url), checks=CHECKS, timeout=60)


def version_of(api: httpx.Client) -> int:
    """The version of the default collection's gallery."""
    return int(api.get("/identities?limit=1").raise_for_status().json()["gallery_version"])


def look_up(api: httpx.Client, collection: str) -> None:
    """Somebody is looked up in a collection, and the audit has it."""
    body = {"id": 2576, "images": [{"image": OTHER_PHOTO}]}
    api.post(f"{collection}/generate", json=body).raise_for_status()
    api.post(f"{collection}/infer", json=EXAMPLES["post", "/infer"].body).raise_for_status()
    deadline = time.monotonic() + 30
    while not api.get(f"{collection}/audit?action=identify").raise_for_status().json()["records"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def alike(found: Any, example: Any) -> bool:
    """The same fields, with values of the same kind."""
    if isinstance(example, dict):
        return found.keys() == example.keys() and all(alike(found[k], example[k]) for k in example)
    if isinstance(example, list):
        if not example:
            return bool(found == [])
        return len(found) > 0 and all(alike(f, example[0]) for f in found)
    return example is None or found is None or type(found) in (type(example), int, float)
