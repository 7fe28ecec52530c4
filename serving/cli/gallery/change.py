"""The commands `faces gallery rename`, `describe`, `delete`, `merge` and `erase`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from serving.cli.gallery.group import (
    COLLECTION,
    ID,
    YES,
    Opened,
    gallery_options,
    recorded,
    report_erasure,
)
from serving.cli.services import Services, pass_services
from serving.cli.terminal import CONFIG, Command, confirm
from serving.gallery import Kind, Operation
from serving.gallery.erasure import erase_everywhere
from serving.gallery.names import metadata_problem
from serving.operations import audit
from serving.operations.bucket import Bucket
from serving.reading.names import name_problem
from serving.reading.spelling import shown
from serving.reading.strict import Twice, load_json


@click.command(cls=Command)
@click.argument("person", metavar="ID", type=ID)
@click.argument("name")
@gallery_options
@pass_services
def rename(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    person: int,
    name: str,
) -> None:
    """Give a person another NAME; an empty one removes it."""
    if name and (problem := name_problem(name)) is not None:
        raise click.BadParameter(problem, param_hint="NAME")
    opened = Opened(services, config, collection, model)
    opened.change(Kind.DESCRIBE, person, [person], details={"name": name or None})


@click.command(cls=Command)
@click.argument("person", metavar="ID", type=ID)
@click.argument("metadata", metavar="JSON")
@gallery_options
@pass_services
def describe(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    person: int,
    metadata: str,
) -> None:
    """Replace a person's metadata by a JSON object; null removes it."""
    try:
        value = load_json(metadata)
    except Twice as error:
        raise click.BadParameter(f"{shown(error.key)} is given twice", param_hint="JSON") from None
    except (ValueError, RecursionError):
        raise click.BadParameter("this is no JSON", param_hint="JSON") from None
    if not isinstance(value, dict | None):
        raise click.BadParameter("give a JSON object or null", param_hint="JSON")
    if value is not None and (problem := metadata_problem(value)) is not None:
        raise click.BadParameter(problem, param_hint="JSON")
    opened = Opened(services, config, collection, model)
    opened.change(Kind.DESCRIBE, person, [person], details={"metadata": value})


@click.command(cls=Command)
@click.argument("people", metavar="[ID]...", type=ID, nargs=-1)
@click.option("--all", "everybody", is_flag=True, help="Forget everybody.")
@YES
@gallery_options
@pass_services
def delete(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    people: Sequence[int],
    everybody: bool,
    yes: bool,
) -> None:
    """Forget people. Their embeddings stay in the bucket until they are swept; see erase."""
    if bool(people) == everybody:
        raise click.UsageError("Give ids, or --all.")
    opened = Opened(services, config, collection, model)
    if everybody:
        count = len(opened.gallery.refresh())
        if not yes:
            confirm(f"Forget all {count} people of {opened.location}?")
        opened.change(Kind.CLEAR, 0)
        return
    operations = [Operation(Kind.DELETE, p, time.time()) for p in people]
    version = opened.gallery.commit(operations, people)
    audit.changed("delete", opened.location, people, version)
    click.echo(f"Done; the gallery's version is {version}.")


@click.command(cls=Command)
@click.argument("person", metavar="ID", type=ID)
@click.argument("sources", metavar="FROM...", type=ID, nargs=-1, required=True)
@gallery_options
@pass_services
def merge(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    person: int,
    sources: Sequence[int],
) -> None:
    """Make one person of several records: those of FROM become ID."""
    if person in sources:
        raise click.UsageError("A person cannot be merged into himself.")
    opened = Opened(services, config, collection, model)
    opened.change(Kind.MERGE, person, [person, *sources], sources=sources)


@click.command(cls=Command)
@click.argument("people", metavar="ID...", type=ID, nargs=-1, required=True)
@YES
@CONFIG
@COLLECTION
@pass_services
def erase(
    services: Services, config: Path, collection: str | None, people: Sequence[int], yes: bool
) -> None:
    """Forget people for good, in the galleries of all models, and print a receipt."""
    if not yes:
        ids = ", ".join(map(str, people))
        confirm(f"Erase {ids} from every object of the gallery?")
    read = recorded(services, config).of_collection(collection)
    bucket = Bucket.of(read, connect=services.connect)
    erasure = erase_everywhere(
        bucket.store, bucket.settings.prefix, bucket.settings.collection, people
    )
    report_erasure("erase", services, read, erasure, people)
