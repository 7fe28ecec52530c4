"""Which tests run together, and the stacks that they share.

A group is a file, or all files whose tests share a stack. With pytest-xdist one worker runs a whole
group. A stack is stopped when its group is over: Ray takes memory and a share of a core even when
nobody asks it anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support import fuzzing
from tests.support.stacks import SHARED, Stack, group_of

ROOT = Path(__file__).resolve().parent
# The same made-up inputs in every run, so that no change is held up by what another one has done;
# `make fuzz` makes up new ones.
hypothesis.settings.register_profile("usual", derandomize=fuzzing.TIMES == 1)
hypothesis.settings.load_profile("usual")
# The longest first, so that the workers end at about the same time.
FIRST = (
    "open_stack",
    "keyed_stack",
    "tests/service/test_faults.py",
    "tuned_stack",
    "tests/service/test_story.py",
    "tests/service/test_killing.py",
    "tests/service/test_wire.py",
    "tests/service/test_publish.py",
    "tests/service/test_ray_pods.py",
    "tests/service/test_operating.py",
    "tests/service/test_versions.py",
    "tests/unit/gallery/test_machine.py",
)

_GROUP = pytest.StashKey[str]()
_RUNNING = pytest.StashKey[contextlib.ExitStack]()


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Hands out whole groups. (xdist's own `loadgroup` writes the group into the ids of tests,
    which pytest 9.2 does not let it.)"""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByGroup:
    return ByGroup(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        group = item.stash[_GROUP] = group_of(item.nodeid.partition("::")[0])
        used = [stack for stack in SHARED if stack in getattr(item, "fixturenames", ())]
        if used not in ([], [group]):
            raise pytest.UsageError(f"tests.support.stacks.FILES lacks {item.nodeid}: {used}")
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
