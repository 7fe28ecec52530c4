"""What OpenAPI is told beyond what FastAPI finds: bodies it does not read, examples, errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from serving.api.examples import EXAMPLES, Example
from serving.api.scopes import is_open

_JSON = "application/json"
_BINARY = {"type": "string", "contentMediaType": "application/octet-stream"}


# The two ways in which a key may be sent; see `serving.api.middleware.gate`.
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def install(api: FastAPI, keys: bool = False) -> None:
    """Let ``api`` describe itself with the examples, its errors as what they are, and what needs a
    key, if anything does."""
    generate = api.openapi

    def described() -> dict[str, Any]:
        if api.openapi_schema is None:
            document = generate()
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    _complete(operation, EXAMPLES.get((method, path)))
                    if keys and not is_open(method.upper(), path):
                        operation["security"] = [{scheme: []} for scheme in _SCHEMES]
            if keys:
                document["components"]["securitySchemes"] = _SCHEMES
        return api.openapi_schema or {}

    api.openapi = described  # type: ignore[method-assign]


def _complete(operation: dict[str, Any], example: Example | None) -> None:
    errors = operation["responses"]["default"]["content"]
    if errors[_JSON]["schema"]["$ref"].endswith("/Problem"):
        errors["application/problem+json"] = errors.pop(_JSON)
    if example is None:
        return
    operation["responses"]["200"]["content"][_JSON]["example"] = example.answer
    if "requestBody" in operation:
        operation["requestBody"]["content"][_JSON]["example"] = example.body
    for parameter in operation.get("parameters", []):
        if parameter["name"] in example.parameters:
            parameter["example"] = example.parameters[parameter["name"]]


def photo_body(request: type[BaseModel], options: type[BaseModel], *files: str) -> dict[str, Any]:
    """The forms of a body with photos; FastAPI cannot derive them, since `bodies` reads them.

    Args:
        request, options: the JSON body, and what of it may be in the query or a form, too.
        files: fields of the photos; ``images`` takes many. With two fields there is no raw form.
    """
    form = options.model_json_schema()
    form["properties"] |= {
        name: {"type": "array", "items": _BINARY} if name == "images" else _BINARY for name in files
    }
    form["required"] = [*form.get("required", []), *files]
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in options.model_json_schema()["properties"].items()
    ]
    content = {
        _JSON: {"schema": _inlined(request)},
        "multipart/form-data": {"schema": form},
    }
    if len(files) == 1:
        content["image/*"] = {"schema": _BINARY}
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}


def json_body(request: type[BaseModel]) -> dict[str, Any]:
    """A body of JSON that `serving.api.bodies.json_of` reads."""
    content = {_JSON: {"schema": _inlined(request)}}
    return {"requestBody": {"required": True, "content": content}}


def protocol_body(request: type[BaseModel]) -> dict[str, Any]:
    """The forms of an inference request and its answer: JSON, and JSON with binary data behind."""
    binary = {"application/octet-stream": {"schema": _BINARY}}
    content = {_JSON: {"schema": _inlined(request)}, **binary}
    return {
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"content": binary}},
    }


def _inlined(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema without references, which would point outside of OpenAPI's tree."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[node["$ref"].rpartition("/")[2]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(value) for value in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = resolve(schema)
    return resolved
