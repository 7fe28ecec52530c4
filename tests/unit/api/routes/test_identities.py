from __future__ import annotations

from typing import Any

import pytest

from serving.errors import TimedOut, Unavailable
from tests.support.api import Api, detail_of


@pytest.mark.parametrize("failure", [Unavailable("The store is away."), TimedOut("Too long.")])
def test_a_change_that_cannot_be_read_back_is_no_failed_write(failure: Exception) -> None:
    api = Api()

    async def describe(*args: Any) -> int:
        return 18

    async def person(*args: Any) -> None:
        raise failure

    api.register.describe = describe  # type: ignore[method-assign,assignment]
    api.register.person = person  # type: ignore[method-assign,assignment]
    answer = api.request("PATCH", "/identities/7", json={"name": "Ada"})
    assert "version 18" in detail_of(answer, 503)
    assert answer.json()["type"] == "urn:faces:problem:not-read-back"
    assert "retry-after" not in answer.headers
