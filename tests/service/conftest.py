"""The real stack (S3 server, tritonserver, Ray Serve), started once, on ports of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.stack.config import StackSettings
from serving.stack.process import Process
from serving.stack.run import running

# Apart from those of `make run`, so that both can run side by side.
PORT = 15000
# Two matchers: what one of them wrote has to be seen by the other.
# Traced is who asks for it; most of the time nobody listens, and no request may suffer from that.
COLLECTOR_PORT = PORT + 50
OVERRIDES = {
    "scale": {"match": {"min_replicas": 2, "max_replicas": 2}},
    "tracing": {"endpoint": f"http://127.0.0.1:{COLLECTOR_PORT}", "sample_ratio": 0},
}


Running = tuple[StackSettings, list[Process]]


@pytest.fixture(scope="session")
def _stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("stack")
    settings = StackSettings(folder=folder, port=PORT, overrides=OVERRIDES)
    with running(settings) as processes:
        yield settings, processes


@pytest.fixture(scope="session")
def stack(_stack: Running) -> StackSettings:
    return _stack[0]


@pytest.fixture(scope="session")
def processes(_stack: Running) -> list[Process]:
    """Of the stack: the S3 server, tritonserver, Ray Serve."""
    return _stack[1]


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
def data() -> Path:
    return Path(__file__).resolve().parents[2] / "data"
