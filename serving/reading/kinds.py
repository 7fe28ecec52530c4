"""Fields that may hold several kinds of values: where an error lies, and what would be right.

Pydantic reports an error for each kind, and names the kind by a word of its own
(`constrained-float`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic_core import ErrorDetails

# Of files that people write, which know no types of Python.
_IN_PLAIN_WORDS = {
    "frozen_set_type": "Input should be a list",
    "tuple_type": "Input should be a list",
    "model_type": "Input should be an object",
}
_NUMBERS = ("int_type", "float_type")
_OF_NUMBERS = (*_NUMBERS, "greater_than_equal", "less_than_equal")
_PLAIN = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_BEGIN = "Input should be "


def place_of(loc: Sequence[int | str], model: type[BaseModel] | None) -> tuple[int | str, ...]:
    """The place of an error, without Pydantic's word for the kind of value that was tried."""
    return tuple(loc[: _written(loc, model)[0]])


def in_words(errors: Sequence[ErrorDetails], model: type[BaseModel] | None) -> str:
    """What the field should be, by the errors of all its kinds, and which right value is near."""
    error = errors[0]
    message = _IN_PLAIN_WORDS.get(error["type"], error["msg"])
    if len(errors) > 1 and all(e["msg"].startswith(_BEGIN) for e in errors):
        limits = _limits(errors[0]["loc"], model)
        message = _BEGIN + " or ".join(
            limits if limits and e["type"] in _OF_NUMBERS else e["msg"].removeprefix(_BEGIN)
            for e in errors
        )
    given = error["input"]
    if not isinstance(given, str):
        return message
    expected = [str(e["ctx"]["expected"]) for e in errors if "expected" in e.get("ctx", {})]
    values = {v.lower(): v for text in expected for v in re.findall(r"'([^']*)'", text)}
    if near := difflib.get_close_matches(given[:40].lower(), values, n=1):
        return f"{message}; did you mean {values[near[0]]}?"
    if error["type"] in _NUMBERS and re.match(r"[-+]?[0-9]", given) and not _PLAIN.fullmatch(given):
        return f"{message}, in digits alone, without a zero before them"
    return message


def _limits(loc: Sequence[int | str], model: type[BaseModel] | None) -> str | None:
    """The range of the number that is one of the kinds of a field; None: it has none."""
    for kind in _kinds(_written(loc, model)[1]):
        limits = [limit for field in get_args(kind)[1:] for limit in getattr(field, "metadata", ())]
        lowest = [limit.ge for limit in limits if isinstance(limit, Ge)]
        highest = [limit.le for limit in limits if isinstance(limit, Le)]
        if lowest and highest:
            return f"a number from {lowest[0]} to {highest[0]}"
    return None


def _written(loc: Sequence[int | str], model: type[BaseModel] | None) -> tuple[int, Any]:
    """How many parts of the place people have written, and the annotation of what is there."""
    at: Any = model
    for n, part in enumerate(loc):
        kinds = _kinds(at)
        if len(kinds) > 1:
            return n, at
        at = _inside(kinds[0], part) if kinds else None
    return len(loc), at


def _kinds(annotation: Any) -> list[Any]:
    """The kinds of value that an annotation allows besides None."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        return [kind for kind in get_args(annotation) if kind is not NoneType]
    return [] if annotation is None else [annotation]


def _inside(annotation: Any, part: int | str) -> Any:
    """The annotation of one field, or of one value of a list or an object; None: not known."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields
        found = (f for name, f in fields.items() if (f.alias or name) == part)
        return next((field.annotation for field in found), None)
    values = [value for value in get_args(annotation) if value is not ...]
    return values[-1] if values else None
