"""The commands `faces gallery list`, `show` and `duplicates`: what a gallery holds."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from datetime import datetime, timezone
from pathlib import Path

import click
from rich import box
from rich.table import Table

from serving.cli import terminal
from serving.cli.gallery.group import ID, JSON, Opened, gallery_options
from serving.cli.retention import time_option
from serving.cli.services import Services, pass_services
from serving.cli.terminal import Command, Failed, Integer, Number
from serving.errors import InvalidInput
from serving.gallery import Person, duplicates
from serving.gallery.retention import seconds_of
from serving.matching.threshold import threshold_of
from serving.operations.served import served_card


@click.command(name="list", cls=Command)
@click.option("--limit", default=100, show_default=True, type=Integer(1))
@click.option("--after", default=-1, type=Integer(-1), help="Begin past this id.")
@time_option("--expires-before", "Only whose retention ends before then.")
@JSON
@gallery_options
@pass_services
def list_(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    limit: int,
    after: int,
    expires_before: str | None,
    as_json: bool,
) -> None:
    """List who is enrolled, in the order of the ids; also whose retention has ended."""
    opened = Opened(services, config, collection, model)
    snapshot = opened.gallery.refresh()
    if expires_before is not None:
        snapshot = snapshot.ending(seconds_of(expires_before))
    people = snapshot.list(limit, after)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(p) for p in people], indent=2))
        return
    columns = ("id", "photos", "name", "updated", "ends")
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for person in people:
        end = "" if person.end == math.inf else _date(person.end)
        about = str(person.id), str(person.photos), person.name, _date(person.updated), end
        table.add_row(*about)
    terminal.plain().print(table)
    click.echo(f"{opened.location}, version {snapshot.version}: {len(snapshot)} people")
    days = opened.args.retention.days_in(opened.location.collection)
    if days is not None:
        click.echo(f"Who is enrolled without an end is kept for {days} days.")
    if len(people) == limit and snapshot.list(1, people[-1].id):
        click.echo(f"There are more: --after {people[-1].id}")


@click.command(cls=Command)
@click.argument("person", metavar="ID", type=ID)
@JSON
@gallery_options
@pass_services
def show(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    person: int,
    as_json: bool,
) -> None:
    """Show one person."""
    record = Opened(services, config, collection, model).gallery.refresh().get(person)
    if record is None:
        raise Failed(f"Nobody is enrolled under the id {person}.")
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(record), indent=2))
        return
    for name, value in _fields(record).items():
        click.echo(terminal.harmless(f"{name:9} {value}"))


@click.command(name="duplicates", cls=Command)
@click.option(
    "--threshold",
    type=Number(-1, 1),
    help="Cosine from which on; by default that at which the service names somebody.",
)
@click.option("--limit", default=100, show_default=True, type=Integer(1))
@JSON
@gallery_options
@pass_services
def duplicates_(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    threshold: float | None,
    limit: int,
    as_json: bool,
) -> None:
    """List pairs of people who may be one person, the most alike first; see merge.

    Without --threshold the served model's card is asked for it, so Triton has to be up.
    """
    opened = Opened(services, config, collection, model)
    snapshot = opened.gallery.refresh().at(time.time())
    if threshold is None:
        threshold = _threshold(opened, len(snapshot))
    with terminal.progress_bar() as progress:
        task = progress.add_task("Comparing", total=len(snapshot))
        pairs = duplicates.find(
            snapshot, threshold, limit, advance=lambda people: progress.advance(task, people)
        )
    if as_json:
        records = [
            {"a": dataclasses.asdict(a), "b": dataclasses.asdict(b), "similarity": round(s, 4)}
            for a, b, s in pairs.best
        ]
        click.echo(json.dumps(records, indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("similarity", "id", "photos", "name", "id", "photos", "name"):
        # In a narrow terminal names are broken, not cut off.
        table.add_column(header, no_wrap=header != "name", overflow="fold")
    for a, b, similarity in pairs.best:
        about = [v for p in (a, b) for v in (str(p.id), str(p.photos), p.name)]
        table.add_row(f"{similarity:.3f}", *about)
    if pairs.best:
        terminal.plain().print(table)
    click.echo(
        f"{opened.location}, version {snapshot.version}: {pairs.found} pairs from "
        f"{threshold:.2f} on among {len(snapshot)} people"
    )
    if pairs.found > len(pairs.best):
        click.echo(f"The {len(pairs.best)} most alike are listed; --limit lists more.")


def _threshold(opened: Opened, people: int) -> float:
    """The cosine from which the service names a person of this gallery."""
    matching = opened.args.match
    if matching.threshold is None or matching.threshold == "auto":
        card = served_card(opened.args.triton)
        if card.id != opened.location.model:
            raise InvalidInput(
                f"Served is {card.id}, and not {opened.location.model}: give a --threshold."
            )
        return threshold_of(None, matching, card, people)
    return matching.threshold


def _fields(person: Person) -> dict[str, str]:
    return {
        "id": str(person.id),
        "name": person.name or "",
        "metadata": json.dumps(person.metadata, ensure_ascii=False) if person.metadata else "",
        "expires": person.expires_at or "",
        "basis": json.dumps(person.legal_basis, ensure_ascii=False) if person.legal_basis else "",
        "distinct": ", ".join(
            f"{other} below {threshold:.2f}" for other, threshold in sorted(person.distinct.items())
        ),
        "photos": str(person.photos),
        "created": _date(person.created),
        "updated": _date(person.updated),
    }


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
