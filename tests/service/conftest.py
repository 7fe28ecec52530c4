"""The stack that most service tests share, a client of it, and the table of faults.

FAULTS_TABLE names a file to write what clients saw of each fault to, in markdown.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.stack.config import StackSettings
from serving.stack.process import Process
from tests.support.load import Row, table
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


@pytest.fixture(scope="session")
def rows() -> Iterator[list[Row]]:
    """Faults, and what clients saw of them."""
    rows: list[Row] = []
    yield rows
    told = table(rows)
    print(f"\n{told}")
    if path := os.environ.get("FAULTS_TABLE"):
        Path(path).write_text(told)
