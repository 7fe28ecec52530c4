"""The commands `faces key …`: making API keys."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import yaml

from serving.cli.terminal import Failed
from serving.errors import InvalidInput
from serving.keys import Scope, hash_of, new_key, parse


@click.group()
def key() -> None:
    """Make API keys. The service keeps only their hashes."""


@key.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What the key is for; may be repeated. admin may do all.",
)
@click.option("--collection", "collections", multiple=True, help="Only this one; may be repeated.")
@click.option(
    "--rate",
    type=click.FloatRange(0.001, 1e6),
    help="Requests a second, on each replica of the ingress; large ones count for more.",
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
    file: Path | None,
) -> None:
    """Make a key for the caller NAME and print it, once: nobody can read it out later.

    Without --file the entry for the key file is printed too, to standard error.
    """
    made = new_key()
    entry: dict[str, object] = {"name": name, "hash": hash_of(made), "scopes": list(scopes)}
    if collections:
        entry["collections"] = list(collections)
    if rate is not None:
        entry["rate"] = rate
    if file is None:
        parse(yaml.safe_dump({"keys": [entry]}))
        click.echo(yaml.safe_dump([entry], sort_keys=False), err=True)
    else:
        _add(file, entry)
    click.echo(made)
    if sys.stdout.isatty():
        click.echo("Keep it: it is not stored anywhere.", err=True)


def _add(file: Path, entry: dict[str, object]) -> None:
    """Add an entry to a key file. Raises Failed when it is no key file, or has the name already."""
    try:
        text = file.read_text() if file.exists() else "keys: []\n"
        parse(text)
        document = yaml.safe_load(text)
        document["keys"].append(entry)
        text = yaml.safe_dump(document, sort_keys=False)
        parse(text)
        # Whole or not at all: the service may be reading it.
        part = file.with_name(f".{file.name}.part")
        part.write_text(text)
        os.replace(part, file)
    except OSError as error:
        raise Failed(f"{file} cannot be written: {error.strerror}.") from None
    except InvalidInput as error:
        raise Failed(f"{file}: {error}") from None
