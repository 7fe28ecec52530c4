"""The options of commands that set a retention: until when a person is kept, and on which basis."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click

from serving.gallery.retention import BASES, day, moment_problem, text_problem, utc


def _time(value: str) -> str:
    return _read(utc, value)


def _day(value: str) -> str:
    return _read(day, value)


def _text(value: str) -> str:
    if (problem := text_problem(value)) is not None:
        raise click.BadParameter(f"It {problem}")
    return value


def _read(read: Callable[[str], str], value: str) -> str:
    try:
        return read(value)
    except ValueError as error:
        raise click.BadParameter(f"It {error}.") from None


def time_option(name: str, about: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option that is a time of RFC 3339; see `serving.gallery.retention.utc`."""
    return click.option(name, type=_time, metavar="TIME", help=about)


_OPTIONS = (
    time_option("--expires-at", "From then on nobody is named as this person."),
    click.option("--basis", type=click.Choice(BASES), help="The legal basis."),
    click.option("--reference", type=_text, metavar="TEXT", help="Where it is kept."),
    click.option("--date", type=_day, metavar="DATE", help="The day of the consent or decision."),
    click.option(
        "--text-version", type=_text, metavar="TEXT", help="Of the text that was agreed to."
    ),
)


def retention_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options for `retention_of`: ``expires_at``, ``basis``, ``reference``, ``date`` and
    ``text_version``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def retention_of(expires_at: str | None, basis: str | None, **more: str | None) -> dict[str, Any]:
    """Those of ``expires_at`` and ``legal_basis`` that the options give."""
    given = {name: text for name, text in more.items() if text is not None}
    if given and basis is None:
        raise click.UsageError(f"--{next(iter(given)).replace('_', '-')} needs a --basis.")
    details: dict[str, Any] = {}
    if expires_at is not None:
        details["expires_at"] = expires_at
    if basis is not None:
        details["legal_basis"] = {"kind": basis, **given}
    if (problem := moment_problem(details, time.time())) is not None:
        raise click.UsageError(problem)
    return details
