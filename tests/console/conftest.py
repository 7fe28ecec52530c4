"""The stack with API keys, a way to it that can be shut, and a browser for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.console import tools
from tests.console.browser import Page, chromium
from tests.console.door import Door, door
from tests.support.stacks import KEYS, Stack


@pytest.fixture(scope="session")
def _browser() -> None:
    """A Chromium is there. Its tests are skipped without one, but never where nobody looks."""
    try:
        tools.chromium(), tools.chromedriver()
    except tools.ToolError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def stack(_browser: None, keyed_stack: Stack) -> Stack:
    """Started only where a browser is: pytest makes the fixtures of a session in this order."""
    return keyed_stack


@pytest.fixture(scope="module")
def way(stack: Stack) -> Iterator[Door]:
    with door(stack.settings.port) as made:
        yield made


@pytest.fixture
def api(stack: Stack) -> Iterator[httpx.Client]:
    """A client that may do all; nobody is enrolled when a test begins."""
    headers = {"Authorization": f"Bearer {KEYS['boss']}"}
    with httpx.Client(base_url=stack.settings.url, headers=headers, timeout=60) as client:
        for place in ("", "/collections/shop"):
            client.delete(f"{place}/identities", params={"confirm": "all"}).raise_for_status()
        yield client


@pytest.fixture
def page(api: httpx.Client, way: Door, tmp_path: Path) -> Iterator[Page]:
    """The page, not opened yet. Afterwards nothing may have come from another host, and the browser
    may have nothing to say about a script or the policy."""
    with chromium(tmp_path / "profile") as driver:
        page = Page(driver, way.url)
        yield page
        assert page.hosts() <= {way.url}
        assert page.complaints() == []


@pytest.fixture(scope="session")
def axe() -> Path:
    tools.fetch(tools.AXE)
    return tools.AXE
