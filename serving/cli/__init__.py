"""The command `faces`."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.cli.root import cli

__all__ = ["cli", "main"]


def main() -> None:
    """The command. Ctrl-C while its modules are imported, which takes half a second, ends it at
    once, with exit code 130: nothing has begun yet, and a traceback would help nobody."""
    if os.getpid() == 1:
        # The kernel keeps from a container's first process what it has no handler for.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    from serving.cli.root import main as run

    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _end(signum: int, frame: FrameType | None) -> None:
    # Not by an exception: an import may catch it, or wrap it into another one.
    os._exit(128 + signum)


def __getattr__(name: str) -> Any:
    if name != "cli":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from serving.cli.root import cli

    return cli
