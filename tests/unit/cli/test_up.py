"""The command `faces up`: the settings that it starts the stack with."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from serving.cli import cli
from serving.stack import run
from serving.stack.config import StackSettings
from serving.stack.process import StackError


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[StackSettings]]:
    """The settings of the stacks that were to be started; none runs."""
    seen: list[StackSettings] = []

    def running(settings: StackSettings, *others: Any) -> Any:
        seen.append(settings)
        raise StackError("Nothing is started here.")

    monkeypatch.setattr(run, "running", running)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("options", "detect"),
    [
        ([], {"model": "mtcnn", "threads": 1}),
        (["--detector", "yunet"], {"model": "yunet", "threads": 1}),
    ],
)
def test_the_detector_of_the_command_line_wins(
    started: list[StackSettings], tmp_path: Path, options: list[str], detect: dict[str, Any]
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("detect: {model: mtcnn, threads: 1}\nliveness: {model: spoof}\n")
    done = CliRunner().invoke(cli, ["up", "--args", str(file), *options])
    assert isinstance(done.exception, StackError)
    (settings,) = started
    assert settings.overrides == {"detect": detect, "liveness": {"model": "spoof"}}
