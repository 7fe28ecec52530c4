"""CompreFace's options, as its clients write them."""

from __future__ import annotations

from typing import Any

import pytest

from serving.api.compreface.codes import WrongArgument, WrongCount
from serving.api.compreface.options import (
    FaceOptions,
    Wanted,
    page_of,
    predictions_of,
    score_of,
    wanted_of,
)
from serving.errors import BadRequest


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, Wanted(None, 0.0, False, False)),
        ({"limit": "2", "status": "True"}, Wanted(2, 0.0, False, True)),
        ({"det_prob_threshold": ".8", "status": "false"}, Wanted(None, 0.8, False, False)),
        ({"face_plugins": " landmarks, "}, Wanted(None, 0.0, True, False)),
        ({"detect_faces": "TRUE", "limit": "0"}, Wanted(None, 0.0, False, False)),
    ],
)
def test_as_clients_write_them(given: dict[str, Any], wanted: Wanted) -> None:
    assert wanted_of(FaceOptions(**given)) == wanted


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"face_plugins": "age"}, "no plugin age"),
        ({"face_plugins": "landmarks,calculator"}, "no plugin calculator"),
        ({"face_plugins": "gender,mask"}, "no plugin gender"),
        ({"face_plugins": "smile"}, "no plugin smile"),
        ({"detect_faces": "false"}, "detect_faces"),
        ({"status": "1"}, "status is true or false"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "1.5"}, "whole number"),
        ({"det_prob_threshold": "1.1"}, "between 0 and 1"),
        ({"det_prob_threshold": "nan"}, "number"),
        ({"det_prob_threshold": "-0.1"}, "between 0 and 1"),
        ({"det_prob_threshold": "-1"}, "between 0 and 1"),
        ({"det_prob_threshold": ""}, "number"),
    ],
)
def test_what_there_is_not_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        wanted_of(FaceOptions(**given))


def test_the_number_of_predictions() -> None:
    assert [predictions_of(text) for text in ("1", "3", "-1", "500")] == [1, 3, 100, 100]
    for wrong in ("0", "-2"):
        with pytest.raises(WrongCount):
            predictions_of(wrong)
    with pytest.raises(WrongArgument):
        predictions_of("many")


def test_pages_and_scores() -> None:
    assert page_of("2", "5000", 1000) == (2, 1000)
    assert score_of("0.95") == 0.95
    for page, size in (("-1", "20"), ("0", "0"), ("x", "20"), ("1e3", "20")):
        with pytest.raises(BadRequest):
            page_of(page, size, 1000)
