"""docs/api.md names everything that the API has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from serving import errors
from serving.api.v2_codec import OUTPUTS
from serving.errors import ServingError
from serving.settings import LimitSettings
from tests.support.api import EXAMPLES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()
ERRORS = [
    error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, ServingError)
]


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_is_there_with_its_status(error: type[ServingError]) -> None:
    assert f"| {error.status} | `{error.type}` |" in PAGE


@pytest.mark.parametrize("name", LimitSettings.model_fields)
def test_every_limit_is_there_with_its_default(name: str) -> None:
    (told,) = re.findall(rf"\| `limits\.{name}` \| ([\d.]+)( MiB| s)? \|", PAGE)
    default = getattr(LimitSettings(), name)
    assert float(told[0]) * (2**20 if told[1] == " MiB" else 1) == default


def test_every_path_is_there() -> None:
    for _, path in EXAMPLES:
        assert path.replace("{name}", "face-identification") in PAGE


def test_every_output_of_the_model_is_there() -> None:
    for name, (datatype, shape) in OUTPUTS.items():
        size = "f" if len(shape) == 1 else f"f, {shape[1]}"
        assert f"| `{name}` | {datatype} `[{size}]` |" in PAGE
