"""The JSON Schema of a report: the committed one, and strict enough to find a mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator, ValidationError

from serving.evaluation.distractors import Distractors
from serving.evaluation.evaluate import SCHEMA, Asked, evaluate
from serving.evaluation.schema import schema, text
from serving.settings import MatchSettings
from tests.support.samples import crowd
from tests.support.stages import CARD

COMMITTED = Path(__file__).resolve().parents[3] / "docs" / "evaluation.schema.json"
CHECK = Draft202012Validator(schema())


@pytest.fixture(scope="module")
def body() -> dict[str, object]:
    nobody = Distractors(np.empty((0, 0), np.float16), 0)
    report, _ = evaluate(crowd(8, 4), CARD, MatchSettings(), nobody, Asked(2, 10))
    found: dict[str, object] = json.loads(json.dumps(report.to_json()))
    return found


def test_the_committed_one_is_this_one() -> None:
    assert COMMITTED.read_text() == text(), "run `make golden`"


def test_it_is_a_schema_and_says_its_version() -> None:
    Draft202012Validator.check_schema(schema())
    assert schema()["properties"]["schema"] == {"const": SCHEMA}


def test_a_report_keeps_to_it(body: dict[str, object]) -> None:
    CHECK.validate(body)
    assert set(body) == set(schema()["properties"])
    assert "details" not in body["faults"]  # type: ignore[operator]


@pytest.mark.parametrize(
    "change", [{"schema": "faces-evaluation/0.9"}, {"people": "many"}, {"groups": None}]
)
def test_another_form_is_found(body: dict[str, object], change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CHECK.validate({**body, **change})


def test_a_field_that_is_missing_is_found(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CHECK.validate({k: v for k, v in body.items() if k != "identification"})
