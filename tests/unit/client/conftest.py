"""Both clients behind one face: what is tested of one holds for the other."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.caller import Caller
from tests.support.service import FakeService, fake_service


@pytest.fixture(scope="package", autouse=True)
def _authorities_are_read_once() -> Iterator[None]:
    """Each client reads those of the system: 70 ms, most of the time of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        cached = functools.cache(ssl.create_default_context)
        patch.setattr(ssl, "create_default_context", cached)
        yield


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service() as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, service: FakeService) -> Caller:
    return Caller(request.param, service.url)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"photo")
    return path
