"""The stack that most service tests share, and a client of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import httpx
import pytest

from serving.stack.config import StackSettings
from serving.stack.process import Process
from tests.support.stacks import Stack


@pytest.fixture(scope="session")
def stack(open_stack: Stack) -> StackSettings:
    return open_stack.settings


@pytest.fixture(scope="session")
def processes(open_stack: Stack) -> list[Process]:
    """Of the stack: the S3 server, tritonserver, Ray Serve."""
    return open_stack.processes


@pytest.fixture(scope="module")
def api(stack: StackSettings) -> Iterator[httpx.Client]:
    """A client of the service, whose gallery is empty when a module's tests begin."""
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        client.delete("/identities", params={"confirm": "all"}).raise_for_status()
        yield client


@pytest.fixture
def new_id(_ids: Iterator[int]) -> int:
    """An id that no other test uses."""
    return next(_ids)


@pytest.fixture(scope="session")
def _ids() -> Iterator[int]:
    return itertools.count(1_000_000)
