"""Bodies of answers: what they cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from serving.api.schemas import FaceBody
from tests.support.stages import GOOD_BODY


@pytest.mark.parametrize("box", [[1, 2, 3], [1, 2, 3, 4, 5], [1.5, 2, 3, 4]])
def test_a_box_is_four_whole_numbers(box: list[float]) -> None:
    face: dict[str, Any] = {
        "id": None,
        "name": None,
        "confidence": None,
        "similarity": None,
        "box": [1, 2, 3, 4],
        "detection_score": 0.99,
        "candidates": [],
        "ambiguous": [],
        "quality": GOOD_BODY,
        "turn": 0,
        "liveness": None,
    }
    assert FaceBody.model_validate(face).id is None
    with pytest.raises(ValidationError):
        FaceBody.model_validate(face | {"box": box})
