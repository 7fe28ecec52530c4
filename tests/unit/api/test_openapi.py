"""What OpenAPI says: every operation has an example, and each fits its own schema."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from serving.api.example_photos import OTHER_PHOTO, PHOTO
from serving.api.examples import Example
from serving.keys import hash_of
from serving.settings import DecodeSettings, KeySettings
from serving.valid_keys import Keys
from serving.vision.decode import decode
from serving.vision.faces import find_faces
from serving.vision.mtcnn.detector import FaceDetector
from tests.support.api import EXAMPLES, Api

JSON = "application/json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return dict(Api().get("/openapi.json").json())


def operations(document: dict[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield (method, path), operation


def check(document: dict[str, Any], value: Any, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


def test_there_are_no_more_and_no_fewer_examples_than_operations(document: dict[str, Any]) -> None:
    assert {key for key, _ in operations(document)} == set(EXAMPLES)


@pytest.mark.parametrize(("key", "example"), EXAMPLES.items(), ids=lambda value: str(value)[:60])
def test_an_example_fits_its_schema(
    document: dict[str, Any], key: tuple[str, str], example: Example
) -> None:
    operation = dict(operations(document))[key]
    answer = operation["responses"]["200"]["content"][example.media]
    assert answer["example"] == example.answer
    check(document, answer["example"], answer["schema"])
    if "requestBody" in operation:
        body = operation["requestBody"]["content"][example.media]
        assert body["example"] == example.body
        check(document, body["example"], body["schema"])
    parameters = {p["name"]: p for p in operation.get("parameters", [])}
    assert set(re.findall(r"{(\w+)}", key[1])) <= set(example.parameters) <= set(parameters)
    for name, value in example.parameters.items():
        assert parameters[name]["example"] == value
        check(document, value, parameters[name]["schema"])


def test_errors_are_problems_and_below_v2_those_of_the_protocol(document: dict[str, Any]) -> None:
    for (_, path), operation in operations(document):
        (media,) = operation["responses"]["default"]["content"].items()
        model = "ProtocolError" if path.startswith("/v2") else "Problem"
        kind = JSON if path.startswith("/v2") else "application/problem+json"
        assert media == (kind, {"schema": {"$ref": f"#/components/schemas/{model}"}})
        assert "422" not in operation["responses"]


def test_what_needs_a_key_is_told(document: dict[str, Any]) -> None:
    assert not any("security" in operation for _, operation in operations(document))
    entry = {"name": "k", "hash": hash_of("k"), "scopes": ["admin"]}
    text = yaml.safe_dump({"keys": [entry]})
    api = Api(keys=Keys(KeySettings(required=True), {"FACES_KEYS": text}.get))
    described = dict(api.get("/openapi.json").json())
    schemes = described["components"]["securitySchemes"]
    for (method, path), operation in operations(described):
        answer = api.request(method, re.sub(r"{\w+}", "7", path))
        assert ("security" in operation) == (answer.status_code == 401), path
        assert {name for way in operation.get("security", []) for name in way} <= set(schemes)


@pytest.mark.parametrize("photo", [PHOTO, OTHER_PHOTO], ids=["photo", "other"])
def test_an_example_photo_shows_a_face(photo: str, detector: FaceDetector) -> None:
    assert len(find_faces(decode(base64.b64decode(photo), DecodeSettings()), detector)) == 1
