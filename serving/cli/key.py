"""The commands `faces key …`: making API keys, and checking a key file."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import click
import yaml
from pydantic import TypeAdapter, ValidationError

from serving.cli.key_file import with_entry
from serving.cli.terminal import Command, Failed, Number
from serving.errors import InvalidInput
from serving.keys import Expiry, Key, Scope, hash_of, new_key, parse, read
from serving.reading.names import name_problem
from serving.settings import COLLECTION_RULE, is_collection


def _expiry(context: click.Context, option: click.Parameter, value: str | None) -> datetime | None:
    try:
        expires = TypeAdapter[datetime | None](Expiry | None).validate_python(value)
    except ValidationError:
        sentence = "Give a date and a time with a time zone, as 2027-01-31T00:00:00Z."
        raise click.BadParameter(sentence) from None
    if expires is not None and expires <= datetime.now(timezone.utc):
        raise click.BadParameter(f"{expires.isoformat()} is past: the key would never be valid.")
    return expires


def _collections(
    context: click.Context, option: click.Parameter, names: tuple[str, ...]
) -> tuple[str, ...]:
    for name in names:
        if not is_collection(name):
            raise click.BadParameter(f"{COLLECTION_RULE.capitalize()}.")
    return names


@click.group()
def key() -> None:
    """Make API keys, and check a key file. The service keeps only their hashes."""


@key.command(cls=Command)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What the key is for; may be repeated. admin may do all.",
)
@click.option(
    "--collection",
    "collections",
    multiple=True,
    callback=_collections,
    help="Only this one; may be repeated.",
)
@click.option(
    "--rate",
    type=Number(0.001, 1e6),
    help="Requests a second, on each replica of the ingress; large ones count for more.",
)
@click.option(
    "--expires",
    metavar="DATE",
    callback=_expiry,
    help="A date and a time with a time zone, from which on the key is refused: "
    "2027-01-31T00:00:00Z.",
)
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Add the entry to this key file, which is made if need be.",
)
def new(
    name: str,
    scopes: tuple[str, ...],
    collections: tuple[str, ...],
    rate: float | None,
    expires: datetime | None,
    file: Path | None,
) -> None:
    """Make a key for the caller NAME and print it, once: nobody can read it out later.

    Without --file the entry for the key file is printed too, to standard error.
    """
    # Logs and `faces key check` show it.
    if (problem := name_problem(name)) is not None:
        raise click.BadParameter(problem, param_hint="NAME")
    made = new_key()
    entry: dict[str, object] = {"name": name, "hash": hash_of(made), "scopes": list(scopes)}
    if collections:
        entry["collections"] = list(collections)
    if rate is not None:
        entry["rate"] = rate
    if expires is not None:
        entry["expires"] = expires.isoformat()
    if file is None:
        parse(yaml.safe_dump({"keys": [entry]}))
        click.echo(yaml.safe_dump([entry], sort_keys=False), err=True)
    else:
        _add(file, entry)
    click.echo(made)
    if sys.stdout.isatty():
        click.echo("Keep it: it is not stored anywhere.", err=True)


@key.command()
@click.argument("file", type=click.Path(dir_okay=False, exists=True, path_type=Path))
def check(file: Path) -> None:
    """Say which keys of FILE count, and what is wrong with the other entries.

    Ends with 1 when something is wrong.
    """
    try:
        content = read(_text_of(file))
    except (OSError, InvalidInput) as error:
        raise Failed(f"{file}: {error} The service takes none of it.") from None
    now = datetime.now(timezone.utc)
    for found in content.keys:
        click.echo(f"{found.name}: {_rights(found, now)}")
    for problem in content.problems:
        click.echo(f"{problem}.", err=True)
    if content.problems:
        raise Failed(f"{file}: the service drops what is wrong, and takes the rest.")


def _rights(found: Key, now: datetime) -> str:
    parts = [", ".join(scope.value for scope in Scope if scope in found.scopes)]
    if found.collections is not None:
        parts.append(f"in {', '.join(sorted(found.collections)) or 'no collection'}")
    if found.rate is not None:
        parts.append(f"{found.rate:g} a second")
    if found.expires is not None:
        expired = found.expires <= now
        parts.append(f"{'expired' if expired else 'expires'} {found.expires.isoformat()}")
    return "; ".join(parts)


def _text_of(file: Path) -> str:
    """The text of a key file. Raises OSError, and InvalidInput: it is not UTF-8."""
    try:
        return file.read_bytes().decode()  # with its line ends
    except UnicodeDecodeError:
        raise InvalidInput("The keys are not UTF-8.") from None


def _add(file: Path, entry: dict[str, object]) -> None:
    """Add an entry to a key file, which keeps its comments. Raises Failed when it is no key file,
    or has the name already."""
    file = file.resolve()  # not a link to it, which would be replaced by the file
    try:
        with _alone(file.parent):
            _replace(file, entry)
    except OSError as error:
        raise Failed(f"{file} cannot be written: {error.strerror}.") from None
    except InvalidInput as error:
        raise Failed(f"{file}: {error}") from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While no other `faces key new` changes a file of the folder: its entry would be lost."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(file: Path, entry: dict[str, object]) -> None:
    text = with_entry(_text_of(file) if file.exists() else "keys: []\n", entry)
    # Whole or not at all: the service may be reading it.
    part = file.with_name(f".{file.name}.part")
    part.write_bytes(text.encode())
    if file.exists():
        shutil.copymode(file, part)
    os.replace(part, file)
