"""The end of a retention by the settings."""

from __future__ import annotations

from typing import Any

import pytest

from serving.gallery.retention import seconds_of
from serving.pipeline.keeping import default_end
from serving.settings import RetentionSettings

NOW = seconds_of("2026-11-29T12:00:00Z")
SHOP = RetentionSettings(days=365, collections={"shop": 30, "staff": None})


@pytest.mark.parametrize(
    ("collection", "given", "end"),
    [
        ("default", {}, "2027-11-29T12:00:00Z"),
        ("shop", {}, "2026-12-29T12:00:00Z"),
        ("staff", {}, None),
        ("shop", {"expires_at": "2099-01-31T00:00:00Z"}, None),
        ("shop", {"expires_at": None}, None),  # no end, on purpose
        ("shop", {"legal_basis": {"kind": "consent"}}, "2026-12-29T12:00:00Z"),
    ],
)
def test_it_is_for_people_without_an_end_of_their_own(
    collection: str, given: dict[str, Any], end: str | None
) -> None:
    assert default_end(SHOP, collection, given, NOW) == end


def test_by_default_there_is_no_end() -> None:
    assert default_end(RetentionSettings(), "default", {}, NOW) is None
