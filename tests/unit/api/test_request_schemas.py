"""Request bodies: what is taken, and what is refused before any stage is asked."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from serving.api.request_schemas import GenerateRequest, InferOptions, InferRequest

IMAGES = [{"image": "aGk="}]


def test_infer_defaults() -> None:
    request = InferRequest.model_validate({"image": "aGk="})
    assert (request.top_k, request.threshold, request.max_faces) == (1, None, None)


def test_a_whole_number_may_stand_for_a_cosine() -> None:
    assert InferOptions.model_validate({"threshold": -1}).threshold == -1.0


@pytest.mark.parametrize(
    "changes",
    [
        {"image": None},
        {"image": 5},
        {"top_k": 0},
        {"top_k": 101},
        {"top_k": 1.5},
        {"top_k": 1.0},
        {"top_k": True},
        {"top_k": "1"},
        {"threshold": True},
        {"threshold": "0.5"},
        {"threshold": 1.01},
        {"threshold": -1.01},
        {"threshold": float("nan")},
        {"max_faces": 0},
        {"treshold": 0.5},
    ],
)
def test_infer_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        InferRequest.model_validate({"image": "aGk="} | changes)


def test_generate_defaults() -> None:
    request = GenerateRequest.model_validate({"id": 2576, "images": IMAGES})
    assert (request.id, request.name, request.mode) == (2576, None, "replace")
    assert GenerateRequest.model_validate({"id": 0, "images": IMAGES}).id == 0
    assert GenerateRequest.model_validate({"id": 2**63 - 1, "images": IMAGES}).id == 2**63 - 1


@pytest.mark.parametrize(
    "changes",
    [
        {"id": -1},
        {"id": 2**63},
        {"id": "2576"},  # an id is a number: "007" and 7 must not be two people or one
        {"id": 1.0},
        {"id": True},
        {"id": None},
        {"images": []},
        {"images": None},
        {"images": ["aGk="]},
        {"images": [{"image": "aGk=", "id": 1}]},
        {"mode": "merge"},
        {"name": ""},
        {"name": "x" * 201},
        {"nmae": "Ann"},
    ],
)
def test_generate_refuses(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GenerateRequest.model_validate({"id": 1, "images": IMAGES} | changes)
