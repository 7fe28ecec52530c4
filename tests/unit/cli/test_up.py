"""The command `faces up`: the settings that it starts the stack with."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
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
def started(monkeypatch: pytest.MonkeyPatch) -> list[StackSettings]:
    """The settings of the stacks that were to be started; none runs."""
    seen: list[StackSettings] = []

    def running(settings: StackSettings, *others: Any) -> Any:
        seen.append(settings)
        raise StackError("Nothing is started here.")

    monkeypatch.setattr(run, "running", running)
    return seen


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_way_to_end_it_stops_the_stack(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    stopped = []

    @contextlib.contextmanager
    def running(settings: StackSettings, *others: Any) -> Iterator[list[Any]]:
        timer = threading.Timer(0.2, os.kill, (os.getpid(), number))
        timer.start()
        try:
            yield []
        finally:
            timer.join()  # or it might end whatever comes after this test
            os.kill(os.getpid(), number)  # a second one changes nothing
            stopped.append(number)

    monkeypatch.setattr(run, "running", running)
    done = CliRunner().invoke(cli, ["up"])
    assert done.exit_code == 0
    assert stopped == [number]
    assert done.output.splitlines()[-2:] == ["Stopping …", "Stopped."]


def test_a_hangup_that_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    @contextlib.contextmanager
    def running(settings: StackSettings, *others: Any) -> Iterator[list[Any]]:
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        raise StackError("It is still there.")
        yield []

    monkeypatch.setattr(run, "running", running)
    assert isinstance(CliRunner().invoke(cli, ["up"]).exception, StackError)


_IN_A_TERMINAL = """
import contextlib, fcntl, pathlib, signal, sys, termios
from serving.cli import main
from serving.stack import run

@contextlib.contextmanager
def running(settings, say):
    try:
        yield []
    finally:
        settings.folder.write_text("stopped")

fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
run.running = running
main()
"""


def test_a_terminal_that_is_closed_stops_the_stack(tmp_path: Path) -> None:
    """Nothing can be printed any more; that must not break off the stopping."""
    marker = tmp_path / "marker"
    ours, its = pty.openpty()
    command = [sys.executable, "-c", _IN_A_TERMINAL, "up", f"--folder={marker}"]
    child = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, start_new_session=True)
    try:
        os.close(its)
        printed = b""
        while b"Ctrl-C stops it" not in printed:
            printed += os.read(ours, 4096)
        os.close(ours)
        assert child.wait(20) == 0
    finally:
        child.kill()
    assert marker.read_text() == "stopped"
