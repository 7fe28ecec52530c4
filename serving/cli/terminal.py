"""What the commands share: common options, consoles, progress bars and failures."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

PATH = click.Path(exists=True, path_type=Path)
NEW_PATH = click.Path(path_type=Path)
CONFIG = click.option(
    "--config",
    type=PATH,
    default=Path(".run/serve.yaml"),
    show_default=True,
    envvar="FACES_CONFIG",
    help="The service's configuration (serveConfigV2): which bucket, which model.",
)
URL = click.option(
    "--url",
    default="http://127.0.0.1:8000",
    show_default=True,
    envvar="FACES_URL",
    help="Address of the service.",
)


class Failed(click.ClickException):
    """Shown as one sentence; exit code 1."""


def progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=plain(stderr=True),
    )


def plain(stderr: bool = False) -> Console:
    """A console that prints names of people and files as they are: [a] is no markup in them."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
