"""What became of a face, in one word."""

from __future__ import annotations

from typing import Any

import pytest

from serving.operations.outcomes import outcome_of

GOOD = {"sufficient": True, "reasons": []}
POOR = {"sufficient": False, "reasons": [{"type": "blurred"}]}
LIVE, ATTACK = {"live": True}, {"live": False}


@pytest.mark.parametrize(
    ("face", "outcome"),
    [
        ({"id": 0, "quality": POOR}, "named"),
        ({"id": None, "quality": GOOD, "ambiguous": [], "liveness": None}, "unknown"),
        ({"id": None, "quality": GOOD, "ambiguous": [{}], "liveness": LIVE}, "ambiguous"),
        ({"id": None, "quality": POOR, "ambiguous": [{}], "liveness": LIVE}, "too poor"),
        ({"id": None, "quality": POOR, "ambiguous": [{}], "liveness": ATTACK}, "not live"),
        ({"id": None}, "unknown"),  # of an older service
    ],
)
def test_outcomes(face: dict[str, Any], outcome: str) -> None:
    assert outcome_of(face) == outcome
