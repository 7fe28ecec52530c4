"""The commands `faces gallery …`: work on the bucket itself, whether the service runs or not."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table

from serving.cli import terminal
from serving.cli.config import read_config
from serving.cli.terminal import CONFIG, NEW_PATH, PATH, Failed
from serving.gallery import Kind, Operation, Person, duplicates
from serving.gallery.erasure import erase_everywhere
from serving.gallery.transfer import export_file, export_folder
from serving.matching.threshold import threshold_of
from serving.operations.bucket import Bucket
from serving.operations.imports import import_path
from serving.operations.served import card_of_gallery

_ID = click.IntRange(0, 2**63 - 1)
_COLLECTION = click.option("--collection", help="Instead of the configured one.")
_MODEL = click.option("--model", help="Id of the model, where several have a gallery.")
_YES = click.option("--yes", is_flag=True, help="Do not ask.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def gallery() -> None:
    """Look at the gallery in the bucket, change it, and keep it in order."""


def gallery_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which gallery."""
    return CONFIG(_COLLECTION(_MODEL(command)))


class _Opened:
    """One gallery, opened by the options."""

    def __init__(self, config: Path, collection: str | None, model: str | None) -> None:
        self.args = read_config(config)
        self.bucket = Bucket.of(self.args, collection)
        self.place = self.bucket.one(model)
        self.gallery = self.bucket.gallery(self.place)

    def change(self, kind: Kind, person: int, require: Sequence[int] = (), **more: Any) -> None:
        operation = Operation(kind, person, time.time(), **more)
        version = self.gallery.commit([operation], require)
        click.echo(f"Done; the gallery's version is {version}.")


@gallery.command(name="list")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@click.option("--after", default=-1, type=int, help="Begin past this id.")
@JSON
@gallery_options
def list_(
    config: Path,
    collection: str | None,
    model: str | None,
    limit: int,
    after: int,
    as_json: bool,
) -> None:
    """List who is enrolled, in the order of the ids."""
    opened = _Opened(config, collection, model)
    snapshot = opened.gallery.refresh()
    people = snapshot.list(limit, after)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(p) for p in people], indent=2))
        return
    table = Table("id", "photos", "name", "updated", box=box.SIMPLE_HEAD, pad_edge=False)
    for person in people:
        table.add_row(str(person.id), str(person.photos), person.name, _date(person.updated))
    terminal.plain().print(table)
    click.echo(f"{opened.place}, version {snapshot.version}: {len(snapshot)} people")
    if len(people) == limit and snapshot.list(1, people[-1].id):
        click.echo(f"There are more: --after {people[-1].id}")


@gallery.command()
@click.argument("person", metavar="ID", type=_ID)
@JSON
@gallery_options
def show(
    config: Path, collection: str | None, model: str | None, person: int, as_json: bool
) -> None:
    """Show one person."""
    found = _Opened(config, collection, model).gallery.refresh().get(person)
    if found is None:
        raise Failed(f"Nobody is enrolled under the id {person}.")
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=2))
        return
    for name, value in _told(found).items():
        click.echo(f"{name:9} {value}")


@gallery.command()
@click.argument("person", metavar="ID", type=_ID)
@click.argument("name")
@gallery_options
def rename(config: Path, collection: str | None, model: str | None, person: int, name: str) -> None:
    """Give a person another NAME; an empty one removes it."""
    opened = _Opened(config, collection, model)
    opened.change(Kind.DESCRIBE, person, [person], details={"name": name or None})


@gallery.command()
@click.argument("person", metavar="ID", type=_ID)
@click.argument("metadata", metavar="JSON")
@gallery_options
def describe(
    config: Path, collection: str | None, model: str | None, person: int, metadata: str
) -> None:
    """Replace a person's metadata by a JSON object; null removes it."""
    try:
        told = json.loads(metadata)
    except ValueError:
        raise click.BadParameter("this is no JSON", param_hint="JSON") from None
    if not isinstance(told, dict | None):
        raise click.BadParameter("give a JSON object or null", param_hint="JSON")
    opened = _Opened(config, collection, model)
    opened.change(Kind.DESCRIBE, person, [person], details={"metadata": told})


@gallery.command()
@click.argument("people", metavar="[ID]...", type=_ID, nargs=-1)
@click.option("--all", "everybody", is_flag=True, help="Forget everybody.")
@_YES
@gallery_options
def delete(
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
    opened = _Opened(config, collection, model)
    if everybody:
        count = len(opened.gallery.refresh())
        if not yes:
            click.confirm(f"Forget all {count} people of {opened.place}?", abort=True)
        opened.change(Kind.CLEAR, 0)
        return
    operations = [Operation(Kind.DELETE, p, time.time()) for p in people]
    version = opened.gallery.commit(operations, people)
    click.echo(f"Done; the gallery's version is {version}.")


@gallery.command()
@click.argument("person", metavar="ID", type=_ID)
@click.argument("sources", metavar="FROM...", type=_ID, nargs=-1, required=True)
@gallery_options
def merge(
    config: Path,
    collection: str | None,
    model: str | None,
    person: int,
    sources: Sequence[int],
) -> None:
    """Make one person of several records: those of FROM become ID."""
    if person in sources:
        raise click.UsageError("A person cannot be merged into himself.")
    opened = _Opened(config, collection, model)
    opened.change(Kind.MERGE, person, [person, *sources], sources=sources)


@gallery.command(name="duplicates")
@click.option(
    "--threshold",
    type=click.FloatRange(-1, 1),
    help="Cosine from which on; by default that at which the service names somebody.",
)
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@JSON
@gallery_options
def duplicates_(
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
    opened = _Opened(config, collection, model)
    snapshot = opened.gallery.refresh()
    if threshold is None:
        threshold = _naming(opened, len(snapshot))
    with terminal.progress_bar() as progress:
        task = progress.add_task("Comparing", total=len(snapshot))
        found = duplicates.find(
            snapshot, threshold, limit, advance=lambda people: progress.advance(task, people)
        )
    if as_json:
        told = [
            {"a": dataclasses.asdict(a), "b": dataclasses.asdict(b), "similarity": round(s, 4)}
            for a, b, s in found.best
        ]
        click.echo(json.dumps(told, indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in ("similarity", "id", "photos", "name", "id", "photos", "name"):
        # In a narrow terminal names are broken, not cut off.
        table.add_column(header, no_wrap=header != "name", overflow="fold")
    for a, b, similarity in found.best:
        about = [v for p in (a, b) for v in (str(p.id), str(p.photos), p.name)]
        table.add_row(f"{similarity:.3f}", *about)
    if found.best:
        terminal.plain().print(table)
    click.echo(
        f"{opened.place}, version {snapshot.version}: {found.found} pairs from {threshold:.2f} on "
        f"among {len(snapshot)} people"
    )
    if found.found > len(found.best):
        click.echo(f"The {len(found.best)} most alike are listed; --limit lists more.")


@gallery.command()
@click.argument("people", metavar="ID...", type=_ID, nargs=-1, required=True)
@_YES
@CONFIG
@_COLLECTION
def erase(config: Path, collection: str | None, people: Sequence[int], yes: bool) -> None:
    """Forget people for good, in the galleries of all models, and print a receipt."""
    if not yes:
        ids = ", ".join(map(str, people))
        click.confirm(f"Erase {ids} from every object of the gallery?", abort=True)
    bucket = Bucket.of(read_config(config), collection)
    receipts = erase_everywhere(
        bucket.store, bucket.settings.prefix, bucket.settings.collection, people
    )
    click.echo(json.dumps([dataclasses.asdict(r) for r in receipts], indent=2))


@gallery.command(name="import")
@click.argument("path", type=PATH)
@click.option("--made-by", metavar="MODEL", help="Id of the model that made .pt files.")
@click.option("--append", is_flag=True, help="Add to the photos that are enrolled already.")
@CONFIG
@_COLLECTION
def import_(
    path: Path, made_by: str | None, append: bool, config: Path, collection: str | None
) -> None:
    """Import embeddings from PATH: all of them or, on an error, none.

    A safetensors file as `export` writes it, a .pt tensor named by the person's id, or a folder of
    such files, or of folders of .pt files named by the id.
    """
    args = read_config(config)
    if collection is not None:
        settings = args.gallery.model_copy(update={"collection": collection})
        args = args.model_copy(update={"gallery": settings})
    total = 0
    with terminal.progress_bar() as progress:
        task = progress.add_task("Importing", total=None)

        def found(people: int) -> None:
            nonlocal total
            total = people
            progress.update(task, total=people)

        version = import_path(
            path,
            args,
            made_by=made_by,
            append=append,
            found=found,
            imported=lambda people: progress.advance(task, people),
        )
    click.echo(f"{total} people are imported; the gallery's version is {version}.")


@gallery.command()
@click.argument("path", type=NEW_PATH)
@gallery_options
def export(config: Path, collection: str | None, model: str | None, path: Path) -> None:
    """Export everybody with all embeddings and names.

    Into one file, when PATH ends in .safetensors; otherwise into a folder, one file a person.
    """
    opened = _Opened(config, collection, model)
    try:
        with terminal.progress_bar() as progress:
            people = len(opened.gallery.refresh())
            task = progress.add_task("Exporting", total=people)
            if path.suffix == ".safetensors":
                done, version = export_file(opened.gallery, opened.place.model, path)
                progress.update(task, completed=done, total=done)
            else:
                done, version = export_folder(
                    opened.gallery,
                    opened.place.model,
                    path,
                    lambda people: progress.advance(task, people),
                )
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror or error}.") from None
    click.echo(f"{done} people of version {version} are exported to {path}.")


def _naming(opened: _Opened, people: int) -> float:
    """The cosine from which on the service names somebody of this gallery."""
    matching = opened.args.match
    if matching.threshold is None or matching.threshold == "auto":
        card = card_of_gallery(opened.args, opened.place.model)
        return threshold_of(None, matching, card, people)
    return matching.threshold


def _told(person: Person) -> dict[str, str]:
    return {
        "id": str(person.id),
        "name": person.name or "",
        "metadata": json.dumps(person.metadata, ensure_ascii=False) if person.metadata else "",
        "photos": str(person.photos),
        "created": _date(person.created),
        "updated": _date(person.updated),
    }


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
