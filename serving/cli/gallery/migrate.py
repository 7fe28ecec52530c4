"""The command `faces gallery migrate`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from serving.cli.gallery.group import recorded
from serving.cli.services import Services, pass_services
from serving.cli.terminal import CONFIG, PATH, Command, Failed, harmless, progress_bar
from serving.gallery.contents import Contents, held
from serving.gallery.erasure import erase_held
from serving.gallery.location import Location
from serving.gallery.migration import Migration
from serving.gallery.store import check_conditional_writes
from serving.model.repository import REPOSITORY
from serving.operations import audit
from serving.operations.bucket import Bucket
from serving.operations.folders import people_in

if TYPE_CHECKING:
    from serving.operations.migrate import NotMoved, Report
    from serving.operations.offline import LeftOut

_SHOWN = 20
_LOGGED_PHOTOS = 1000  # a line each time, where no progress bar is drawn


@click.command("migrate", cls=Command)
@click.argument("photos", metavar="PHOTOS", type=PATH)
@click.option("--to", "model", required=True, metavar="MODEL", help="Name of the new model.")
@click.option("--from", "source", metavar="ID", help="Id of the old model, if that is not clear.")
@click.option(
    "--repository",
    type=click.Path(file_okay=False, path_type=Path),
    default=REPOSITORY,
    help="Where the new model lies; default: triton/models beside this package.",
)
@click.option("--triton", metavar="URL", help="Ask a Triton that serves the new model, instead.")
@click.option("--replace", is_flag=True, help="Overwrite who is in the new gallery otherwise.")
@click.option("--largest", is_flag=True, help="Of several faces in a photo take the largest.")
@click.option("--dry-run", is_flag=True, help="Look at the photos, but write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@CONFIG
@click.option("--collection", help="Instead of the configured one.")
@pass_services
def migrate_command(
    services: Services,
    photos: Path,
    model: str,
    source: str | None,
    repository: Path,
    triton: str | None,
    replace: bool,
    largest: bool,
    dry_run: bool,
    as_json: bool,
    config: Path,
    collection: str | None,
) -> None:
    """Enrol everybody anew, from PHOTOS, in the gallery of another model, beside the old one.

    PHOTOS holds a folder of photos for each person, named by the id. Names, metadata and times are
    taken over from the old gallery, which stays as it is. Repeat it as often as you like: it does
    what is left, takes over what has changed in the old gallery since, and takes out of the new one
    who is no longer in the old one.
    """
    configured = recorded(services, config)
    given = people_in(photos)
    if given.passed_over is not None:
        click.echo(given.passed_over, err=True)
    # Here, since it takes seconds to load, and the other commands have no use for it.
    from serving.operations import migrate, offline

    with contextlib.ExitStack() as closing:
        if triton is None:
            to: offline.EmbeddingModel = services.local_model(repository, model)
        else:
            settings = configured.args.triton.model_copy(update={"url": triton, "model": model})
            to = closing.enter_context(contextlib.closing(offline.TritonModel(settings)))
        bucket = Bucket.of(configured, collection, connect=services.connect)
        card, name = to.card, bucket.settings.collection
        old, new = bucket.other_than(card.id, source), Location(name, card.id, card.dimension)
        if not dry_run:
            check_conditional_writes(bucket.store, bucket.settings.prefix)

        def erase(ids: Collection[int]) -> None:
            contents = Contents(bucket.stored(new))
            if known := held(contents, ids):
                erase_held(contents, known)

        new_gallery = bucket.gallery(new)
        migration = Migration(bucket.gallery(old), new_gallery, erase=erase, replace=replace)
        stopped = closing.enter_context(_stopping())
        progress = closing.enter_context(progress_bar())
        task = progress.add_task("Looking at photos", total=None)

        def found(count: int) -> None:
            progress.update(task, total=count)
            click.echo(f"{count} photos have to be looked at.", err=True)

        def advance(count: int) -> None:
            progress.advance(task, count)
            done = int(progress.tasks[0].completed)
            # A log gets lines instead of the bar.
            if done % _LOGGED_PHOTOS == 0 and not progress.console.is_terminal:
                click.echo(f"{done} photos are done.", err=True)

        report = migrate.migrate(
            migration,
            migrate.Photos(given.people),
            services.cropper(configured.args, card, largest=largest),
            to,
            dry_run=dry_run,
            stopped=stopped.is_set,
            found=found,
            advance=advance,
        )
    if report.moved and not dry_run:
        audit.changed("migrate", new, report.moved, new_gallery.snapshot.version)
    base = photos.resolve()
    if as_json:
        galleries = {"from": old.model, "to": new.model, "collection": name, "dry_run": dry_run}
        click.echo(json.dumps({**galleries, **_json(report, base)}, indent=2))
    else:
        click.echo(f"{old} -> {new.model}{', a dry run' if dry_run else ''}")
        for line in _lines(report, base):
            click.echo(harmless(line))
    if report.broken_off is not None:
        raise Failed(f"{report.broken_off} Not everybody was looked at; repeat it to go on.")
    if report.not_moved:
        raise Failed(f"{len(report.not_moved)} people could not be moved.")


@contextlib.contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that finished work gets written; a second aborts."""
    stopped = threading.Event()

    def stop(signum: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        click.echo("Stopping when what was looked at is written …", err=True)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _json(report: Report, base: Path) -> dict[str, Any]:
    def left_out(photos: Sequence[LeftOut]) -> list[dict[str, str]]:
        return [dataclasses.asdict(p) | {"photo": _inside(p.photo, base)} for p in photos]

    def not_moved(person: NotMoved) -> dict[str, Any]:
        fields = {"id": person.id, "name": person.name, "reason": person.reason}
        return {**fields, "photos": left_out(person.photos)}

    plan = report.plan
    return {
        "moved": report.moved,
        "renamed": report.renamed,
        "done_before": plan.done,
        "removed": report.removed,
        "not_moved": [not_moved(person) for person in report.not_moved],
        "not_overwritten": plan.foreign,
        "not_removed": plan.gone_foreign,
        "not_enrolled": plan.unknown,
        "left_out": left_out(report.left_out),
        "broken_off": report.broken_off,
    }


def _lines(report: Report, base: Path) -> Iterator[str]:
    plan = report.plan
    yield f"moved: {len(report.moved)}"
    if report.renamed:
        yield f"moved before, name and metadata taken over: {len(report.renamed)}"
    yield f"moved before: {plan.done}"
    if report.removed:
        yield f"taken out, as they are no longer in the old gallery: {_some(report.removed)}"
    if plan.foreign:
        yield f"not overwritten, as others wrote them (--replace does): {_some(plan.foreign)}"
    if plan.gone_foreign:
        yield (
            "no longer in the old gallery, but not taken out, as others changed them: "
            + _some(plan.gone_foreign)
        )
    if plan.unknown:
        yield f"in the photos, but not in the old gallery: {_some(plan.unknown)}"
    if report.left_out:
        yield f"photos that are not used, of people who are moved: {len(report.left_out)}"
        yield from _photos(report.left_out, base)
    yield f"not moved: {len(report.not_moved)}"
    for person in report.not_moved[:_SHOWN]:
        name = f" ({person.name})" if person.name else ""
        yield f"  {person.id}{name}: {person.reason.replace('-', ' ')}"
        yield from _photos(person.photos, base)
    if len(report.not_moved) > _SHOWN:
        yield f"  and {len(report.not_moved) - _SHOWN} more; --json tells all"


def _photos(photos: Sequence[LeftOut], base: Path) -> Iterator[str]:
    for photo in photos[:_SHOWN]:
        yield f"    {_inside(photo.photo, base)}: {photo.detail}"
    if len(photos) > _SHOWN:
        yield f"    and {len(photos) - _SHOWN} more; --json tells all"


def _inside(photo: Path, base: Path) -> str:
    return str(photo.relative_to(base))


def _some(people: Sequence[int]) -> str:
    more = ", …" if len(people) > _SHOWN else ""
    return f"{len(people)} ({', '.join(map(str, people[:_SHOWN]))}{more})"
