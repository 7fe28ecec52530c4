"""Which tests run together, and the stacks that they share.

A group is a file, or all files whose tests share a stack. With pytest-xdist one worker runs a whole
group. A stack is stopped when its group is over: Ray takes memory and a share of a core even when
nobody asks it anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.stacks import SHARED, Stack

ROOT = Path(__file__).resolve().parent
# The longest first, so that the workers end at about the same time.
FIRST = (
    "open_stack",
    "keyed_stack",
    "service/test_faults.py",
    "tuned_stack",
    "service/test_story.py",
    "service/test_killing.py",
    "service/test_wire.py",
    "service/test_publish.py",
    "service/test_ray_pods.py",
    "service/test_operating.py",
    "service/test_versions.py",
    "unit/gallery/test_machine.py",
)

_GROUP = pytest.StashKey[str]()
_RUNNING = pytest.StashKey[contextlib.ExitStack]()


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    shared = {
        item.path: stack
        for item in items
        for stack in SHARED
        if stack in getattr(item, "fixturenames", ())
    }
    for item in items:
        group = shared.get(item.path, str(item.path.relative_to(ROOT)))
        item.stash[_GROUP] = group
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: _place(item.stash[_GROUP]))


def _place(group: str) -> int:
    return FIRST.index(group) if group in FIRST else len(FIRST)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    try:
        return (yield)
    finally:
        if nextitem is None or nextitem.stash[_GROUP] != item.stash[_GROUP]:
            _stop(item.config)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """When the tests were broken off."""
    _stop(session.config)


def _stop(config: pytest.Config) -> None:
    if running := config.stash.get(_RUNNING, None):
        running.close()


def _started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, name: str
) -> Stack:
    running = request.config.stash.setdefault(_RUNNING, contextlib.ExitStack())
    return running.enter_context(SHARED[name](tmp_path_factory.mktemp(name)))


@pytest.fixture(scope="session")
def open_stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    return _started(request, tmp_path_factory, "open_stack")


@pytest.fixture(scope="session")
def keyed_stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    return _started(request, tmp_path_factory, "keyed_stack")


@pytest.fixture(scope="session")
def tuned_stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    return _started(request, tmp_path_factory, "tuned_stack")


@pytest.fixture(scope="session")
def data() -> Path:
    return ROOT.parent / "data"
