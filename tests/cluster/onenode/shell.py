"""Runs commands, and waits for what they start."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.cluster.onenode.home import ClusterError

Word = str | Path

_POLL_SECONDS = 0.3
_LAST_LINES = 15
_begin = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - _begin:6.1f} s  {text}", flush=True)


def run(
    command: Sequence[Word],
    *,
    input: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a command and return its standard output, without the white space around it.

    Raises:
        ClusterError: it failed; the message has the last lines that it wrote.
    """
    done = subprocess.run(
        [str(word) for word in command],
        input=input,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env,
    )
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-_LAST_LINES:])
        raise ClusterError(f"{_short(command)} ended with {done.returncode}: {last}")
    return done.stdout.strip()


def succeeds(command: Sequence[Word]) -> bool:
    done = subprocess.run([str(word) for word in command], capture_output=True)
    return done.returncode == 0


def wait(what: str, seconds: float, ready: Callable[[], bool]) -> None:
    """Poll until ``ready``. Raises ClusterError when it is not after so many seconds."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not there after {seconds:.0f} s.")
        time.sleep(_POLL_SECONDS)
    say(f"{what}: there")


def _short(command: Sequence[Word]) -> str:
    text = " ".join(map(str, command))
    return text if len(text) < 200 else text[:200] + " …"
