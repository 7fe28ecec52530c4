"""What the API says of itself is what it does: every example is carried out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest

from serving.examples import EXAMPLES, OTHER_PHOTO

JSON = "application/json"


@pytest.fixture(scope="module")
def document(api: httpx.Client) -> dict[str, Any]:
    return dict(api.get("/openapi.json").json())


@pytest.fixture(autouse=True)
def people(api: httpx.Client) -> Iterator[None]:
    """Those of whom the examples speak."""
    for person in (2576, 104):
        body = {"id": person, "images": [{"image": OTHER_PHOTO}]}
        api.post("/generate", json=body).raise_for_status()
    yield
    api.delete("/identities", params={"confirm": "all"}).raise_for_status()


@pytest.mark.parametrize(("method", "path"), EXAMPLES, ids=" ".join)
def test_an_example_is_answered_as_described(
    api: httpx.Client, document: dict[str, Any], method: str, path: str
) -> None:
    operation = document["paths"][path][method]
    places: dict[str, dict[str, Any]] = {"path": {}, "query": {}}
    for parameter in operation.get("parameters", []):
        if "example" in parameter:
            places[parameter["in"]][parameter["name"]] = parameter["example"]
    body = operation.get("requestBody", {"content": {JSON: {"example": None}}})["content"][JSON]
    answer = api.request(
        method, path.format(**places["path"]), params=places["query"], json=body["example"]
    )
    assert answer.status_code == 200, answer.text
    described = operation["responses"]["200"]["content"][JSON]
    schema = {**described["schema"], "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer.json())
    assert alike(answer.json(), described["example"])


def alike(found: Any, example: Any) -> bool:
    """The same fields, with values of the same kind."""
    if isinstance(example, dict):
        return found.keys() == example.keys() and all(alike(found[k], example[k]) for k in example)
    if isinstance(example, list):
        return len(found) > 0 and all(alike(f, example[0]) for f in found)
    return example is None or found is None or type(found) in (type(example), int, float)
