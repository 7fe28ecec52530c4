"""The types of answers are those of the service."""

from __future__ import annotations

from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from serving.api import schemas
from serving.client import answers

TYPES = {name: t for name, t in vars(answers).items() if is_typeddict(t)}
SHARED = sorted(name for name in TYPES if hasattr(schemas, name))


def plain(hint: Any) -> Any:
    """A hint with models and typed dictionaries by their names, and nothing annotated."""
    if get_args(hint):
        origin = Union if get_origin(hint) is UnionType else get_origin(hint)
        return (origin, *[plain(a) for a in get_args(hint)])
    return hint.__name__ if isinstance(hint, type) and hint.__module__ != "builtins" else hint


@pytest.mark.parametrize("name", SHARED)
def test_they_have_the_same_fields(name: str) -> None:
    here, there = get_type_hints(TYPES[name]), get_type_hints(getattr(schemas, name))
    there = {field: there[field] for field in getattr(schemas, name).model_fields}
    assert {f: plain(h) for f, h in here.items()} == {f: plain(h) for f, h in there.items()}


def test_most_are_compared() -> None:
    assert {"InferAnswer", "GenerateAnswer", "IdentityAnswer", "ErasureReceipt"} <= set(SHARED)
