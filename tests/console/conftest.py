"""A stack with API keys, a way to it that can be shut, and a browser for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from serving.keys import hash_of, new_key
from serving.stack.config import StackSettings
from serving.stack.process import Process
from serving.stack.run import running
from tests.console import tools
from tests.console.browser import Page, chromium
from tests.console.door import Door, door

PORT = 17400
KEYS = {name: new_key() for name in ("admin", "identify", "enrol", "shop")}
_ENTRIES = [
    {"name": "admin", "scopes": ["admin"]},
    {"name": "identify", "scopes": ["identify"]},
    {"name": "enrol", "scopes": ["identify", "enrol"]},
    {"name": "shop", "scopes": ["admin"], "collections": ["shop"]},
]

Running = tuple[StackSettings, list[Process]]


@pytest.fixture(scope="package")
def _browser() -> None:
    """A Chromium is there. Its tests are skipped without one, but never where nobody looks."""
    try:
        tools.chromium(), tools.chromedriver()
    except tools.ToolError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="package")
def stack(_browser: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("console")
    keys = folder / "keys.yaml"
    entries = [{**entry, "hash": hash_of(KEYS[str(entry["name"])])} for entry in _ENTRIES]
    keys.write_text(yaml.safe_dump({"keys": entries}))
    overrides = {"keys": {"required": True, "file": str(keys)}}
    settings = StackSettings(folder=folder / "run", port=PORT, overrides=overrides)
    with running(settings) as processes:
        yield settings, processes


@pytest.fixture(scope="package")
def way(stack: Running) -> Iterator[Door]:
    with door(stack[0].port) as made:
        yield made


@pytest.fixture
def api(stack: Running) -> Iterator[httpx.Client]:
    """A client that may do all; nobody is enrolled when a test begins."""
    headers = {"Authorization": f"Bearer {KEYS['admin']}"}
    with httpx.Client(base_url=stack[0].url, headers=headers, timeout=60) as client:
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
