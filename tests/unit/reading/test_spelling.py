"""The sentences about options that are unknown, and the name that is proposed."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from serving.reading.spelling import nearest, problem_of, shown, unknown

KNOWN = ("threshold", "max_faces", "erase")


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    bucket: str = ""
    text: str = ""

    @field_validator("text")
    @classmethod
    def _refuse(cls, text: str) -> str:
        raise ValueError(text)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    gallery: Inner | None = None
    several: list[Annotated[Inner, Field()]] = []
    by_name: dict[str, Inner] = {}
    sources: int = Field(0, alias="from")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Erase", "erase"),
        ("ERASE", "erase"),
        ("treshold", "threshold"),
        ("thresholds", "threshold"),
        ("maxfaces", "max_faces"),
        ("max-faces", "max_faces"),
        ("cursor", None),
        ("", None),
        ("e" * 10_000, None),
    ],
)
def test_the_nearest_name(name: str, near: str | None) -> None:
    assert nearest(name, KNOWN) == near


def test_what_is_known_keeps_its_capitals() -> None:
    assert nearest("maxreplicas", ["maxReplicas"]) == "maxReplicas"


def test_sentences() -> None:
    assert unknown("Erase", KNOWN) == "Erase is no option of this request; did you mean erase?"
    assert unknown("x", KNOWN) == (
        "x is no option of this request; there are erase, max_faces, threshold."
    )
    assert unknown("x", ()) == "x is no option of this request, which takes none here."


def test_a_text_is_shown_short_and_harmless() -> None:
    assert shown("") == '""'
    assert shown("a" * 40) == "a" * 40
    assert shown("a" * 1000) == "a" * 40 + "…"
    assert shown("\x1b[2J\u202e\n") == "?[2J??"


def problem(document: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(document)
    return problem_of(caught.value, Outer, "this file")


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"galery": {}}, "galery is no option of this file; did you mean gallery?"),
        (
            {"gallery": {"bukcet": ""}},
            "gallery.bukcet is no option of this file; did you mean gallery.bucket?",
        ),
        (
            {"several": [{}, {"Bucket": ""}]},
            "several.1.Bucket is no option of this file; did you mean several.1.bucket?",
        ),
        ({"form": 1}, "form is no option of this file; did you mean from?"),
        ({"from": "x"}, "from: Input should be a valid integer, unable to parse"),
        ({"gallery": {"text": "A name is text."}}, "A name is text."),
        ({"gallery": {"text": "it is longer"}}, "gallery.text: it is longer."),
    ],
)
def test_a_mistake_is_named_with_its_place(document: dict[str, Any], sentence: str) -> None:
    assert problem(document).startswith(sentence)


def test_only_the_first_few_are_told() -> None:
    assert problem({f"x{n}": 1 for n in range(50)}).count("is no option") == 3


class Lists(BaseModel):
    a: frozenset[str] = frozenset()
    b: tuple[str, ...] = ()
    c: Inner = Inner()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"a": "x"}, "a: Input should be a list."),
        ({"b": "x"}, "b: Input should be a list."),
        ({"c": None}, "c: Input should be an object."),
        ("x", "the body: Input should be an object."),
    ],
)
def test_no_sentence_names_a_type_of_python(given: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Lists.model_validate(given)
    assert problem_of(caught.value, Lists, "this request") == sentence
