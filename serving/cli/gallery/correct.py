"""The commands `faces gallery photos`, `move`, `distinct`, `unmerge` and `undo`: corrections."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich import box
from rich.table import Table

from serving.cli import terminal
from serving.cli.gallery.group import ID, JSON, Opened, gallery_options
from serving.cli.services import Services, pass_services
from serving.cli.terminal import Command, Integer, Number
from serving.gallery.version import Version
from serving.matching import corrections
from serving.matching.corrections import Move, Tell, Undo
from serving.operations import audit


@click.command(cls=Command)
@click.argument("person", metavar="ID", type=ID)
@JSON
@gallery_options
@pass_services
def photos(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    person: int,
    as_json: bool,
) -> None:
    """List the enrolled photos of a person, and how alike each is to the others; see move."""
    opened = Opened(services, config, collection, model)
    found = corrections.photos(opened.gallery, person)
    if as_json:
        click.echo(json.dumps([photo._asdict() for photo in found.photos], indent=2))
        return
    table = Table("photo", "similarity", box=box.SIMPLE_HEAD, pad_edge=False)
    for photo in found.photos:
        alike = "" if photo.similarity is None else f"{photo.similarity:.3f}"
        table.add_row(photo.id, alike)
    terminal.plain().print(table)


@click.command(cls=Command)
@click.argument("person", metavar="ID", type=ID)
@click.argument("to", metavar="TO", type=ID)
@click.argument("ids", metavar="PHOTO...", nargs=-1, required=True)
@gallery_options
@pass_services
def move(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    person: int,
    to: int,
    ids: Sequence[str],
) -> None:
    """Make photos of the person ID those of the person TO, who is enrolled if need be.

    PHOTO is as the command photos lists it. A person without photos is gone.
    """
    if person == to:
        raise click.UsageError("The photos are this person's already.")
    opened = Opened(services, config, collection, model)
    wanted = Move(person, to, tuple(dict.fromkeys(ids)))
    _report(opened, "move", [to, person], corrections.move(opened.gallery, wanted, _most(opened)))


@click.command(cls=Command)
@click.argument("person", metavar="ID", type=ID)
@click.argument("others", metavar="OTHER...", type=ID, nargs=-1, required=True)
@click.option(
    "--threshold",
    type=Number(-1, 1),
    help="Cosine below which it holds; by default halfway between their similarity and 1.",
)
@click.option("--remove", is_flag=True, help="Take it back: they may be one person.")
@gallery_options
@pass_services
def distinct(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    person: int,
    others: Sequence[int],
    threshold: float | None,
    remove: bool,
) -> None:
    """Note that none of OTHER is the person ID.

    Such a pair is not proposed as duplicates again, and a face that is like both is not named,
    below a higher threshold. The command show lists them.
    """
    if person in others:
        raise click.UsageError("A person is the same as himself.")
    if remove and threshold is not None:
        raise click.UsageError("Give --threshold or --remove.")
    opened = Opened(services, config, collection, model)
    wanted = Tell(person, tuple(dict.fromkeys(others)), threshold, same=remove)
    version = corrections.tell(opened.gallery, wanted)
    _report(opened, "same" if remove else "distinct", [person, *wanted.others], version)


@click.command(cls=Command)
@click.argument("person", metavar="ID", type=ID)
@click.argument("sources", metavar="[FROM]...", type=ID, nargs=-1)
@gallery_options
@pass_services
def unmerge(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    person: int,
    sources: Sequence[int],
) -> None:
    """Take people out of the person ID again, who were merged into it: FROM, or all of the last
    merge.

    They get the photos that they had. It works until the versions of the gallery are swept.
    """
    opened = Opened(services, config, collection, model)
    _undo(opened, "unmerge", Undo(person, merges=True, sources=tuple(sources)))


@click.command(cls=Command)
@click.argument("person", metavar="ID", type=ID)
@click.option("--version", type=Integer(1), help="The gallery's, that the change made.")
@gallery_options
@pass_services
def undo(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    person: int,
    version: int | None,
) -> None:
    """Undo a move or a merge of the photos of the person ID, or an undo: the last one, or that of
    --version.

    What was added or changed since stays. It works until the versions of the gallery are swept.
    """
    _undo(Opened(services, config, collection, model), "undo", Undo(person, version))


def _undo(opened: Opened, action: str, wanted: Undo) -> None:
    done = corrections.undo(opened.gallery, wanted, _most(opened))
    audit.changed(action, opened.location, done.ids, done.gallery_version)
    click.echo(
        f"Version {done.version} is undone for {', '.join(map(str, done.ids))}; the gallery's "
        f"version is {done.gallery_version}."
    )


def _most(opened: Opened) -> int:
    return opened.args.match.max_people


def _report(opened: Opened, action: str, people: Sequence[int], version: Version) -> None:
    audit.changed(action, opened.location, people, version)
    click.echo(f"Done; the gallery's version is {version}.")
