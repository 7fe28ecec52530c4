"""The OpenAPI document beyond what FastAPI derives: bodies that it does not read, examples, errors,
and which operations need a key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.routing import BaseRoute

from serving.api.examples import Example
from serving.api.parsing import NDJSON
from serving.api.schemas import StreamEnd
from serving.api.scopes import RouteScopes

Handler = TypeVar("Handler", bound=Callable[..., Any])

_JSON = "application/json"
_BINARY = {"type": "string", "contentMediaType": "application/octet-stream"}
_ATTRIBUTE = "_faces_example"

# The two ways in which a key may be sent; see `serving.api.middleware.gate`.
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def shows(example: Example) -> Callable[[Handler], Handler]:
    """Give a route's handler its example."""

    def mark(handler: Handler) -> Handler:
        setattr(handler, _ATTRIBUTE, example)
        return handler

    return mark


def examples_of(routes: Iterable[BaseRoute]) -> Mapping[tuple[str, str], Example]:
    """The examples of the routes that OpenAPI describes, by method (small letters) and path."""
    return {
        (method.lower(), route.path_format): getattr(route.endpoint, _ATTRIBUTE)
        for route in routes
        if isinstance(route, APIRoute) and route.include_in_schema
        for method in route.methods or ()
        if hasattr(route.endpoint, _ATTRIBUTE)
    }


def install(api: FastAPI, routes: Iterable[BaseRoute], *, keys: bool) -> None:
    """Let ``api`` describe itself with the examples, with its errors as what they are, and with
    the operations that need a key.

    Args:
        routes: those of ``api``, each with the whole of its path.
        keys: whether callers need keys at all.
    """
    routes = list(routes)
    examples, scopes, generate = examples_of(routes), RouteScopes(routes), api.openapi

    def described() -> dict[str, Any]:
        if api.openapi_schema is None:
            document = generate()
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    _complete(operation, examples.get((method, path)))
                    if keys and not scopes.target(method.upper(), path).is_open:
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
    operation["responses"]["200"]["content"][example.media]["example"] = example.answer
    if "requestBody" in operation:
        operation["requestBody"]["content"][example.media]["example"] = example.body
    for parameter in operation.get("parameters", []):
        if parameter["name"] in example.parameters:
            parameter["example"] = example.parameters[parameter["name"]]


def photo_body(request: type[BaseModel], options: type[BaseModel], *files: str) -> dict[str, Any]:
    """The forms of a body with photos; FastAPI cannot derive them, since `bodies` reads them.

    Args:
        request, options: the JSON body, and what of it may be in the query or a form, too.
        files: fields of the photos; ``images`` takes many. With two fields there is no raw form.
    """
    form = _inlined(options)
    # In a form, a property that is an object is JSON.
    known = dict(form["properties"])
    form["properties"] |= {
        name: {"type": "array", "items": _BINARY} if name == "images" else _BINARY for name in files
    }
    form["required"] = [*form.get("required", []), *files]
    parameters = [
        {"name": name, "in": "query", "required": False, **_in_query(schema)}
        for name, schema in known.items()
    ]
    content = {
        _JSON: {"schema": _inlined(request)},
        "multipart/form-data": {"schema": form},
    }
    if len(files) == 1:
        content["image/*"] = {"schema": _BINARY}
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}


def stream(
    line: type[BaseModel],
    options: type[BaseModel],
    answer: type[BaseModel],
    *,
    file: str | None = None,
    of_each: Collection[str] = (),
) -> dict[str, Any]:
    """A stream of lines and its answer; the schemas are those of one line.

    Args:
        line: that is sent.
        options: of them those may be in the query that are not ``of_each`` line.
        answer: to the single request.
        file: field of the photos of a form, which is taken, too.
    """
    content: dict[str, Any] = {NDJSON: {"schema": _inlined(line)}}
    if file is not None:
        files = {"type": "array", "items": _BINARY}
        form = {"type": "object", "properties": {file: files}, "required": [file]}
        content["multipart/form-data"] = {"schema": form}
    place = {
        "type": "object",
        "properties": {"index": {"type": "integer"}, "ref": {"type": "string"}},
        "required": ["index"],
    }
    lines = [
        {"allOf": [{"$ref": f"#/components/schemas/{of}"}, place]}
        for of in (answer.__name__, "Problem")
    ]
    schema = {"description": "one in each line", "anyOf": [*lines, _inlined(StreamEnd)]}
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, **_in_query(described)}
            for name, described in _inlined(options)["properties"].items()
            if name not in of_each
        ],
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"content": {NDJSON: {"schema": schema}}}},
    }


def _in_query(schema: Mapping[str, Any]) -> dict[str, Any]:
    choices = schema.get("anyOf", [schema])
    if any(choice.get("type") == "object" for choice in choices):
        return {"content": {_JSON: {"schema": schema}}}
    return {"schema": schema}


def json_body(request: type[BaseModel]) -> dict[str, Any]:
    """A body of JSON that `serving.api.parsing.json_of` reads."""
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
