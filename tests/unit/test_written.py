"""Texts of one form: the sentence for others, and the schema."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from serving.keys import Key
from serving.settings import AppArgs
from serving.written import Written


class Model(BaseModel):
    name: Annotated[str, Written(r"^[a-z]{1,3}$", "a name is up to 3 small letters")] = "abc"


@pytest.mark.parametrize("text", ["a", "abc"])
def test_what_matches_is_taken(text: str) -> None:
    assert Model(name=text).name == text


@pytest.mark.parametrize("text", ["", "abcd", "A", "a\n", " a"])
def test_for_others_there_is_the_sentence(text: str) -> None:
    with pytest.raises(ValidationError, match="a name is up to 3 small letters"):
        Model(name=text)


def test_the_schema_has_the_pattern() -> None:
    schema = Model.model_json_schema()["properties"]["name"]
    assert (schema["type"], schema["pattern"]) == ("string", r"^[a-z]{1,3}$")


@pytest.mark.parametrize("model", [AppArgs, Key])
def test_no_pattern_of_settings_and_keys_is_shown_to_people(model: type[BaseModel]) -> None:
    assert "'pattern':" not in repr(model.__pydantic_core_schema__)
