"""What the commands share: common options, consoles, progress bars and failures."""

from __future__ import annotations

import sys
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from serving.client import Client
from serving.reading.names import BIDIRECTIONAL
from serving.reading.spelling import nearest
from serving.reading.strict import INTEGER, NUMBER

_WIDEST = 10_000  # characters of a row
# Of Unicode, without Cf: it has the joiners of Persian, Hindi and emoji, too.
_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})

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
ENDPOINT = click.option(
    "--endpoint",
    envvar=["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
    help="URL of an S3 server that is not AWS.",
)
REGION = click.option(
    "--region",
    envvar=["AWS_REGION", "AWS_DEFAULT_REGION"],
    default="us-east-1",
    show_default=True,
)


class Command(click.Command):
    """A command of which no option is given twice: click would take the last without a word.

    For an option that does not exist it names the nearest one, also for one in other capitals.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        except click.NoSuchOption as error:
            known = [name for p in self.get_params(ctx) for name in p.opts if name[0] == "-"]
            near = nearest(error.option_name, known)
            # Click proposes no name that differs in capitals alone.
            proposal = "" if near is None else f" Did you mean {near!r}?"
            message = f"No such option {error.option_name!r}.{proposal}"
            raise click.NoSuchOption(error.option_name, message, ctx=ctx) from None
        for parameter, count in Counter(order).items():
            once = isinstance(parameter, click.Option) and not parameter.multiple
            if once and count > 1:
                raise click.UsageError(f"{parameter.opts[0]} is given twice.", ctx)
        return super().parse_args(ctx, args)


# Numbers are written as in the API; `int` would also read 1_0 and the digits of any script.
class Integer(click.IntRange):
    """A whole number in ASCII digits, without a + and without leading zeros."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not INTEGER.fullmatch(value):
            self.fail(f"{value!r} is not a valid integer.", param, ctx)
        return super().convert(value, param, ctx)


class Number(click.FloatRange):
    """A number as JSON writes it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not NUMBER.fullmatch(value):
            self.fail(f"{value!r} is not a valid number.", param, ctx)
        return super().convert(value, param, ctx)


def endpoint_of(option: str | None) -> str | None:
    """The value of ``--endpoint``; None: AWS."""
    if option and not option.startswith(("http://", "https://")):
        raise click.BadParameter("give http(s)://host:port", param_hint="--endpoint")
    return option or None


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of which nothing is cut off: in a narrow terminal cells have several lines, and
    a file or a pipe gets each row as one line, however long."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = plain()
    if not console.is_terminal:
        console.width = max(
            console.width,
            console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum,
        )
    console.print(table)


def client(url: str, **options: Any) -> Client:
    """A client of the service, closed when the command ends; a warning of it is one line on
    stderr.

    Args:
        options: see `serving.client.synchronous.Client`.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = Client(url, **options)
    for warning in caught:
        click.echo(f"Warning: {warning.message}", err=True)
    return click.get_current_context().with_resource(made)


def confirm(question: str) -> None:
    """Ask; raises click.Abort when the answer is no, and Failed where there is nobody to ask."""
    if sys.stdin is None or sys.stdin.closed:  # closed by who started the command, as cron may do
        raise Failed(f"{question} Nobody can be asked here; --yes stands for the answer.")
    click.confirm(question, abort=True)


class Failed(click.ClickException):
    """Shown as one sentence; exit code 1."""

    def format_message(self) -> str:
        return harmless(self.message)


def harmless(text: str) -> str:
    """The text without what a terminal would obey, as names of files and metadata may hold any
    characters: controls, the marks that turn the direction of a line, and halves of surrogate
    pairs, which stand for bytes that are no UTF-8. Joiners and blanks of any script stay."""
    if text.isprintable():
        return text
    return "".join("?" if _obeyed(c) else c for c in text)


def _obeyed(character: str) -> bool:
    if character.isprintable() or character == "\n":
        return False
    return unicodedata.category(character) in _CONTROLS or character in BIDIRECTIONAL


def progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=plain(stderr=True),
    )


def plain(stderr: bool = False) -> Console:
    """A console that prints names of people and files as they are: [a] is no markup in them."""
    return _Plain(stderr=stderr, highlight=False, markup=False, emoji=False)


class _Plain(Console):
    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(harmless(o) if isinstance(o, str) else o for o in objects), **options)
