"""The command `faces cluster`: groups of faces that nobody was named by, for a person to name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serving.cli import jobs
from serving.cli.config import read_overrides
from serving.cli.evaluation import ARGS, MODEL, REPOSITORY
from serving.cli.services import Services, pass_services
from serving.cli.terminal import (
    ENDPOINT,
    NEW_PATH,
    REGION,
    Command,
    Integer,
    Number,
    harmless,
    progress_bar,
)
from serving.errors import InvalidInput
from serving.operations.batch.job import Folder
from serving.settings import AppArgs

if TYPE_CHECKING:
    from serving.operations.sought import Sought
    from serving.operations.strangers import Groups

_SHOWN = 20


@click.command(cls=Command)
@click.argument("source", metavar="DIR|s3://BUCKET/PREFIX", type=jobs.PathOrS3())
@click.option(
    "--out", required=True, type=NEW_PATH, help="A new folder, for the groups and groups.json."
)
@click.option(
    "--threshold",
    type=Number(0.01, 1),
    help="Mean cosine from which two groups are one; default: the model's for two photos.",
)
@click.option(
    "--min-faces", default=2, show_default=True, type=Integer(1), help="Of a group that is written."
)
@MODEL
@REPOSITORY
@ARGS
@ENDPOINT
@REGION
@pass_services
def cluster(
    services: Services,
    source: Path | Folder,
    out: Path,
    threshold: float | None,
    min_faces: int,
    model: str,
    repository: Path,
    args: Path | None,
    endpoint: str | None,
    region: str,
) -> None:
    """Group faces without a name by person, for you to look at and to name.

    The source is a folder of photos, or the results of `faces batch` in a bucket: of these the
    faces that nobody was named by. They are compared on this machine; the service is not asked.
    """
    settings = AppArgs.model_validate(read_overrides(args) if args else {})
    photos = _photos(services, source, endpoint, region)
    local = services.local_model(repository, model)
    limit = local.card.pairs.threshold if threshold is None else threshold
    # Here, since what it imports takes seconds to load, and the other commands have no use for it.
    from serving.operations.strangers import GROUPS, gather

    with progress_bar() as progress:
        task = progress.add_task("Looking at photos", total=None)
        found = gather(
            photos,
            out,
            services.cropper(settings, local.card, largest=False),
            local,
            limit,
            least=min_faces,
            done=lambda: progress.advance(task),
        )
    _report(found, out, limit)
    click.echo(harmless(f"{out / GROUPS} tells which face is from which photo."))


def _photos(
    services: Services, source: Path | Folder, endpoint: str | None, region: str
) -> Iterator[Sought]:
    from serving.operations.sought import in_folder, in_results, source_of

    if isinstance(source, Path):
        if not source.is_dir():
            raise InvalidInput(f"{source} is no folder.")
        return in_folder(source)
    where = endpoint, region
    needs = "grouping results needs to get and list them, and to get the photos"
    patience = jobs.patience(threading.Event())
    results = jobs.place(services, source, *where, needs, patience)
    photos = jobs.place(services, source_of(results), *where, needs, patience)
    return in_results(results, photos)


def _report(found: Groups, out: Path, threshold: float) -> None:
    counts = found.counts
    for line in counts.unread[:_SHOWN]:
        click.echo(harmless(line), err=True)
    if len(counts.unread) > _SHOWN:
        click.echo(f"… and {len(counts.unread) - _SHOWN} more photos.", err=True)
    grouped = sum(map(len, found.groups))
    click.echo(
        harmless(
            f"{len(found.groups)} groups of {grouped} faces in {out}; {len(found.alone)} faces are "
            f"alone, {counts.poor} too poor to compare (threshold {threshold:.2f})."
        )
    )
    if counts.missing:
        click.echo(f"{counts.missing} faces of the results were not found in their photos again.")
    if counts.unread:
        click.echo(f"{len(counts.unread)} photos could not be read.")
