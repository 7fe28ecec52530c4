"""What OpenAPI is told of the bodies that FastAPI does not read itself."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


def photo_body(request: type[BaseModel], options: type[BaseModel], *files: str) -> dict[str, Any]:
    """The forms of a body with photos; FastAPI cannot derive them, since `bodies` reads them.

    Args:
        request, options: the JSON body, and what of it goes with other forms, too.
        files: fields of the photos; ``images`` takes many. With two fields there is no raw form.
    """
    binary = {"type": "string", "contentMediaType": "application/octet-stream"}
    form = options.model_json_schema()
    form["properties"] |= {
        name: {"type": "array", "items": binary} if name == "images" else binary for name in files
    }
    form["required"] = [*form.get("required", []), *files]
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in options.model_json_schema()["properties"].items()
    ]
    content = {
        "application/json": {"schema": _inlined(request)},
        "multipart/form-data": {"schema": form},
    }
    if len(files) == 1:
        content["image/*"] = {"schema": binary}
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}


def protocol_body(request: type[BaseModel]) -> dict[str, Any]:
    """The forms of an inference request: JSON, and JSON with binary data behind it."""
    binary = {"type": "string", "contentMediaType": "application/octet-stream"}
    content = {
        "application/json": {"schema": _inlined(request)},
        "application/octet-stream": {"schema": binary},
    }
    return {"requestBody": {"required": True, "content": content}}


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
