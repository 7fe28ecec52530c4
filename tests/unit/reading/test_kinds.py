"""Fields of several kinds: one sentence, which names no word of Pydantic."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.reading.spelling import problem_of
from serving.settings import AppArgs

DIGITS = "Input should be a valid number, in digits alone, without a zero before them."


class Several(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    limit: Annotated[float, Field(ge=0, le=9)] | Literal["none", "auto"] | None = None
    either: int | Literal["all"] = 1
    names: dict[str, float | Literal["off"]] = {}
    listed: list[Annotated[int, Field(ge=1)] | Literal["x"]] = []
    mode: Literal["report", "refuse"] = "report"
    number: float = 0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"limit": "Auto"},
            "limit: Input should be a number from 0 to 9 or 'none' or 'auto'; did you mean auto?",
        ),
        ({"limit": 10}, "limit: Input should be a number from 0 to 9 or 'none' or 'auto'."),
        ({"limit": []}, "limit: Input should be a number from 0 to 9 or 'none' or 'auto'."),
        ({"either": "ALL"}, "either: Input should be a valid integer or 'all'; did you mean all?"),
        ({"either": 1.5}, "either: Input should be a valid integer or 'all'."),
        (
            {"names": {"a": "of"}},
            "names.a: Input should be a valid number or 'off'; did you mean off?",
        ),
        ({"listed": [1, "X"]}, "listed.1: Input should be a valid integer or 'x'; did you mean x?"),
        ({"mode": "refused"}, "mode: Input should be 'report' or 'refuse'; did you mean refuse?"),
        ({"mode": "z"}, "mode: Input should be 'report' or 'refuse'."),
        ({"number": "1:30"}, f"number: {DIGITS}"),
        ({"number": "1.5"}, "number: Input should be a valid number."),
        ({"number": "x"}, "number: Input should be a valid number."),
    ],
)
def test_one_sentence_for_all_kinds(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Several.model_validate(given)
    assert problem_of(caught.value, Several, "this file") == sentence


def _fields(model: type[BaseModel]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += [(name, *path) for path in _fields(inner)]
        else:
            found.append((name,))
    return found


@pytest.mark.parametrize("value", [object(), "Auto", -(2.5**70), [None], {"a": None}, True])
@pytest.mark.parametrize("path", _fields(AppArgs), ids=".".join)
def test_no_setting_is_refused_in_words_of_the_library(path: tuple[str, ...], value: Any) -> None:
    document = value
    for name in reversed(path):
        document = {name: document}
    try:
        AppArgs.model_validate(document)
    except ValidationError as error:
        sentence = problem_of(error, AppArgs, "the settings")
        place = ".".join(path)
        assert sentence.startswith(place)
        assert sentence[len(place)] in ":."
        assert "constrained" not in sentence
        assert "literal[" not in sentence
        assert "function" not in sentence
