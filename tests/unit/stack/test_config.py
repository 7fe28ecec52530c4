"""The settings of the one-machine stack."""

from __future__ import annotations

from typing import Any

import pytest

from serving.stack.config import StackSettings, liveness_model


@pytest.mark.parametrize(
    ("liveness", "wanted"),
    [
        ({}, None),
        ({"model": "spoof"}, "spoof"),
        ({"model": "spoof", "url": "http://elsewhere:8000"}, None),
    ],
)
def test_its_triton_serves_a_liveness_model_that_nobody_else_does(
    liveness: dict[str, Any], wanted: str | None
) -> None:
    assert liveness_model(StackSettings(overrides={"liveness": liveness})) == wanted
    application = {"args": {"liveness": liveness}}
    assert liveness_model(StackSettings(document={"applications": [application]})) == wanted


def test_without_liveness_settings_there_is_none() -> None:
    assert liveness_model(StackSettings()) is None
