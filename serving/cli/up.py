"""The command `faces up`: the one-machine stack, until Ctrl-C, SIGTERM or a closed terminal."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from serving.cli.config import read_overrides
from serving.cli.terminal import PATH, Command, Integer
from serving.settings import DEFAULT_MODEL
from serving.stack.config import StackSettings


@click.command(cls=Command)
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=Integer(1024, 65_000),
    help="Of HTTP; others follow it.",
)
@click.option("--model", default=DEFAULT_MODEL, show_default=True)
@click.option(
    "--detector",
    type=click.Choice(["mtcnn", "yunet"]),
    help="The face detector; default: the settings'.",
)
@click.option(
    "--folder",
    default=Path(".run"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Data, keys and logs; what was enrolled stays there.",
)
@click.option(
    "--args",
    type=PATH,
    help="A YAML file with settings of the application to lay over the defaults.",
)
def up(port: int, model: str, detector: str | None, folder: Path, args: Path | None) -> None:
    """Run the whole service on this machine until Ctrl-C."""
    # Here, since only the extra `local` brings what it needs.
    from serving.stack.run import running

    console = Console(highlight=False)
    stopping = threading.Event()

    def interrupt(signum: int, frame: FrameType | None) -> None:
        if not stopping.is_set():  # once: a second one must not break off the stopping
            stopping.set()
            _say_last(console, "Stopping …")
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    # Of a terminal that is closed; nohup ignores it.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, interrupt)
    overrides = read_overrides(args) if args else {}
    if detector is not None:
        overrides["detect"] = {**overrides.get("detect", {}), "model": detector}
    settings = StackSettings(folder=folder, port=port, model=model, overrides=overrides)
    start = time.monotonic()
    console.print("Starting the S3 server, Triton and Ray Serve …")

    def say(line: str) -> None:
        # Paths may have [brackets].
        console.print(f"  {time.monotonic() - start:4.0f} s  {line}", markup=False)

    try:
        with running(settings, say) as processes:
            console.print(
                f"\nThe service is up: open [bold]{settings.url}[/bold] in a browser. Its API is "
                f"described at {settings.url}/docs.\n"
                f"Try: curl -F image=@data/id_is_2576.jpg {settings.url}/infer\n"
                "Ctrl-C stops it; what was enrolled stays.",
                soft_wrap=True,
            )
            # Where the interrupt came in a destructor, Python has swallowed it.
            while not stopping.is_set():
                for process in processes:
                    process.check()
                time.sleep(1)
    except KeyboardInterrupt:
        pass
    finally:
        stopping.set()
    _say_last(console, "Stopped.")


def _say_last(console: Console, line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be closed
        console.print(line)
