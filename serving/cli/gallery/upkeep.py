"""The commands `faces gallery compact`, `sweep` and `check`: a gallery kept in order."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import click

from serving.cli.config import read_config
from serving.cli.gallery.group import JSON, gallery_options, recorded
from serving.cli.gallery.retention import expired
from serving.cli.services import Services, pass_services
from serving.cli.terminal import Command, Failed, Number
from serving.errors import ServingError
from serving.gallery import check as checking
from serving.gallery import compaction
from serving.gallery import sweep as sweeping
from serving.gallery.check import CheckReport
from serving.gallery.expiry import ended
from serving.gallery.stored import StoredGallery
from serving.operations import audit
from serving.operations.bucket import Bucket

_OVERDUE_S = 86_400
_OVERDUE_SHOWN = 20


@click.command(cls=Command)
@gallery_options
@pass_services
def compact(services: Services, config: Path, collection: str | None, model: str | None) -> None:
    """Fold small segments together, in every gallery of the bucket unless one is named."""
    _each(services, config, collection, model, _compact)


def _compact(gallery: StoredGallery) -> str:
    done = compaction.compact(gallery)
    if done.bytes_written:
        audit.changed("compact", gallery.location, (), gallery.file.read()[0].version)
    return (
        f"{done.before} segments before, {done.after} after; "
        f"{done.bytes_read} bytes read, {done.bytes_written} written"
    )


@click.command(cls=Command)
@click.option(
    "--grace",
    "hours",
    default=24.0,
    show_default=True,
    type=Number(0),
    help="Hours for which a slow reader may still need what is no longer listed.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--compact", "compact_first", is_flag=True, help="Compact each gallery before.")
@click.option(
    "--expire", "expire_first", is_flag=True, help="Before, erase whose retention has ended."
)
@gallery_options
@pass_services
def sweep(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    hours: float,
    dry_run: bool,
    compact_first: bool,
    expire_first: bool,
) -> None:
    """Remove objects that no gallery needs any more, in every gallery unless one is named."""
    if compact_first and dry_run:
        raise click.UsageError("Give --compact or --dry-run.")
    if expire_first and (dry_run or model):
        option = "--dry-run" if dry_run else "--model"
        raise click.UsageError(f"Give --expire or {option}: see faces gallery expire.")

    def work(gallery: StoredGallery) -> str:
        swept = sweeping.sweep(gallery, hours * 3600, dry_run=dry_run)
        if swept.removed and not dry_run:
            audit.changed("sweep", gallery.location, (), gallery.file.read()[0].version)
        verb = "would be removed" if dry_run else "removed"
        return f"{len(swept.removed)} objects of {swept.bytes} bytes {verb}"

    # What cannot be compacted is swept all the same.
    failed: list[str] = []
    if expire_first:
        failed += expired(services, recorded(services, config), collection)
    for step in [_compact, work] if compact_first else [work]:
        try:
            _each(services, config, collection, model, step)
        except Failed as error:
            failed.append(error.message)
    if failed:
        raise Failed("\n".join(failed))


@click.command(cls=Command)
@JSON
@gallery_options
@pass_services
def check(
    services: Services, config: Path, collection: str | None, model: str | None, as_json: bool
) -> None:
    """Read every object and verify it, in every gallery unless one is named."""
    reports: dict[str, CheckReport] = {}
    bucket = Bucket.of(read_config(config), collection, connect=services.connect)

    @lru_cache
    def overdue(of: str) -> Sequence[int]:
        # The maintenance runs within the hour; a day late it does not run.
        try:
            return ended(bucket.store, bucket.settings.prefix, of, time.time() - _OVERDUE_S)
        except ServingError:
            return ()  # a gallery cannot be read: its own check says so

    def work(gallery: StoredGallery) -> str:
        late = overdue(gallery.location.collection)
        done = dataclasses.replace(checking.check(gallery), overdue=late)
        reports[str(gallery.location)] = done
        shown = ", ".join(map(str, late[:_OVERDUE_SHOWN])) + (" …" * (len(late) > _OVERDUE_SHOWN))
        kept = f"\n  {len(late)} people whose retention has ended are still here: {shown}"
        return (
            f"version {done.version}, {done.segments} segments, {done.operations} operations, "
            f"{done.embeddings} embeddings, {len(done.orphans)} objects to sweep, "
            f"{len(done.problems) or 'no'} problems"
            + "".join(f"\n  {p}" for p in done.problems)
            + (kept if late else "")
        )

    _each(services, config, collection, model, work, quiet=as_json)
    if as_json:
        fields = {location: dataclasses.asdict(report) for location, report in reports.items()}
        click.echo(json.dumps(fields, indent=2))
    if any(report.problems for report in reports.values()):
        raise Failed("A gallery is damaged; restore what is named from a backup.")
    if any(report.overdue for report in reports.values()):
        raise Failed(
            "The retention of people ended more than a day ago, and they are not erased: does the "
            "maintenance run? faces gallery expire erases them."
        )


def _each(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    work: Callable[[StoredGallery], str],
    *,
    quiet: bool = False,
) -> None:
    """Run ``work`` on each gallery; a failure does not stop the others."""
    bucket = Bucket.of(read_config(config), collection, connect=services.connect)
    failed: list[str] = []
    locations = bucket.galleries(collection, model, lambda at, why: failed.append(f"{at}: {why}"))
    if not locations and not failed:
        # Before the first enrolment there is no gallery, and that is no error.
        if collection or model:
            raise Failed(bucket.none(collection, model))
        if not quiet:
            click.echo(bucket.none(collection, model))
    for location in locations:
        try:
            line = work(bucket.stored(location))
        except ServingError as error:
            failed.append(f"{location}: {error}")
        else:
            if not quiet:
                click.echo(f"{location}: {line}")
    if failed:
        raise Failed("\n".join(failed))
