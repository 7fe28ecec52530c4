"""Options of requests: a request is refused if one is unknown, given twice or of the wrong kind.

`check_options` runs before each route. What a route takes is what its description says it takes, so
a new route or option needs nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.routing import BaseRoute

from serving.api.scopes import changes
from serving.errors import BadRequest
from serving.reading.spelling import problem_of, shown, unknown
from serving.reading.strict import BOOLEANS, INTEGER, NUMBER, Twice, load_json

M = TypeVar("M", bound=BaseModel)

# The types of JSON that an option may have.
Kinds = frozenset[str]

_SENTENCES = {
    "integer": "{} is a whole number in digits, such as 7.",
    "number": "{} is a number, such as 0.5.",
    "boolean": "{} is true or false.",
}


# Their senders rely on them: a change that goes on without them is what they are to prevent.
_CONDITIONS = ("If-Match", "If-None-Match", "If-Unmodified-Since")
_ONCE = ("Idempotency-Key",)


@dataclass(frozen=True)
class Taken:
    """What a route takes besides its body.

    Attributes:
        path, query: the kinds of its parameters, by their names.
        body: whether it takes one.
        changes: whether it may change what is stored.
    """

    path: Mapping[str, Kinds]
    query: Mapping[str, Kinds]
    body: bool
    changes: bool


async def check_options(request: Request) -> None:
    """A dependency of every route; `taken_of` them is in ``app.state.taken``.

    Raises:
        BadRequest: a parameter of the path or the query is unknown, given twice or not written as
            its kind is; the query is not UTF-8; there is a body where none is taken; or a change
            has a condition that is not checked.
    """
    try:  # Starlette would put a question mark for what is not
        unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError:
        raise BadRequest("The query is not UTF-8; encode its text as UTF-8, then by %.") from None
    taken: Taken = request.app.state.taken[request.scope["route"].unique_id]
    for name, kinds in taken.path.items():
        value_of(name, request.path_params[name], kinds)
    values_of(request.query_params.multi_items(), taken.query)
    if not taken.body and await _has_body(request):
        raise BadRequest("This request takes no body: its options are in the path and the query.")
    if taken.changes:
        _check_conditions(request)


def _check_conditions(request: Request) -> None:
    for name in _CONDITIONS:
        if name in request.headers:
            raise BadRequest(
                f"The condition {name} is not checked here; send the change without it."
            )
    for name in _ONCE:
        if name in request.headers:
            raise BadRequest(
                f"{name} is not supported: a request that is sent twice is carried out twice. Send "
                "it without, and look before you send it again."
            )


def values_of(pairs: Iterable[tuple[str, str]], kinds: Mapping[str, Kinds]) -> dict[str, Any]:
    """The values of options that came as text, in a query or a form.

    Raises:
        BadRequest: one is unknown, given twice or not written as its kind is.
    """
    texts: dict[str, str] = {}
    for name, text in pairs:
        if name not in kinds:
            raise BadRequest(unknown(name, kinds))
        if name in texts:
            raise twice(name, texts[name], text)
        texts[name] = text
    return {name: value_of(name, text, kinds[name]) for name, text in texts.items()}


def value_of(name: str, text: str, kinds: Kinds) -> Any:
    """The value of one option: numbers and booleans are written as in JSON.

    Raises:
        BadRequest: it is not written as its kind is.
    """
    if "string" in kinds:
        return text
    if "object" in kinds:
        return _object_of(name, text)
    if "boolean" in kinds and text in BOOLEANS:
        return BOOLEANS[text]
    if "integer" in kinds and INTEGER.fullmatch(text):
        return int(text)
    if "number" in kinds and NUMBER.fullmatch(text):
        return json.loads(text)
    kind = next(kind for kind in _SENTENCES if kind in kinds)
    raise BadRequest(_SENTENCES[kind].format(name))


def _object_of(name: str, text: str) -> Any:
    try:
        return load_json(text)
    except Twice as error:
        raise BadRequest(f"{shown(error.key)} is given twice in {name}.") from None
    except (ValueError, RecursionError):
        raise BadRequest(f"{name} is a JSON object.") from None


def twice(name: str, first: str, second: str) -> BadRequest:
    """The refusal of an option that comes twice."""
    return BadRequest(f"{shown(name)} is given twice, as {shown(first)} and {shown(second)}.")


def options_of(model: type[M], query: Mapping[str, Any], body: Mapping[str, Any]) -> M:
    """The options of a request, of which some came in the query and others in the body.

    Raises:
        BadRequest: they contradict each other, or are no options of ``model``.
    """
    for name in query.keys() & body.keys():
        if query[name] != body[name]:  # 1 and 1.0 are the same
            first, second = json.dumps(query[name]), json.dumps(body[name])
            raise BadRequest(
                f"{name} is given twice, as {shown(first)} in the query and {shown(second)} in "
                "the body."
            )
    try:
        return model.model_validate({**query, **body})
    except ValidationError as error:
        raise BadRequest(problem_of(error, model, "this request")) from None


@lru_cache
def kinds_of(model: type[BaseModel]) -> Mapping[str, Kinds]:
    """The kinds of a model's fields, by their names."""
    properties = model.model_json_schema()["properties"]
    return {name: _kinds(schema) for name, schema in properties.items()}


def _kinds_of_type(annotation: Any) -> Kinds:
    return _kinds(TypeAdapter(annotation).json_schema())


def _kinds(schema: Mapping[str, Any]) -> Kinds:
    """The types that a JSON schema allows; a type of its own for whatever is not a simple one.
    References are to models, which are objects."""
    choices = schema.get("anyOf", [schema])
    return frozenset(
        "object" if "$ref" in choice else choice.get("type", "string") for choice in choices
    )


def taken_of(routes: Iterable[BaseRoute]) -> dict[str, Taken]:
    """What each route takes, by its id."""
    return {route.unique_id: _taken(route) for route in routes if isinstance(route, APIRoute)}


def _taken(route: APIRoute) -> Taken:
    derived = {
        place: {field.alias: _kinds_of_type(field.field_info.annotation) for field in fields}
        for place, fields in (
            ("path", route.dependant.path_params),
            ("query", route.dependant.query_params),
        )
    }
    described = route.openapi_extra or {}
    for parameter in described.get("parameters", []):
        written = parameter.get("content", {}).get("application/json", parameter)
        derived[parameter["in"]][parameter["name"]] = _kinds(written["schema"])
    has_body = "requestBody" in described or route.body_field is not None
    return Taken(derived["path"], derived["query"], has_body, changes(route))


async def _has_body(request: Request) -> bool:
    if "transfer-encoding" in request.headers:  # of unknown length; it may be empty
        async for chunk in request.stream():
            if chunk:
                return True
        return False
    return request.headers.get("content-length", "0").strip() not in ("", "0")
