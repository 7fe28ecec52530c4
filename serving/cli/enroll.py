"""The command `faces enroll`: the people of a folder, or of a prefix of a bucket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.progress import Progress

from serving.cli import jobs
from serving.cli.enroll_bucket import BucketOptions, enroll_bucket
from serving.cli.enrolling import Enroller, conflict_sentence
from serving.cli.retention import retention_of, retention_options
from serving.cli.services import Services, pass_services
from serving.cli.terminal import (
    ENDPOINT,
    REGION,
    URL,
    Command,
    Failed,
    Integer,
    client,
    harmless,
    progress_bar,
)
from serving.client import ClientError
from serving.operations.batch.job import Folder
from serving.operations.enrolment import (
    Answer,
    ChangedMeanwhile,
    NoneUsable,
    Photo,
    batches,
    enrol,
)
from serving.operations.folders import PersonFolder, people_in


@click.command(cls=Command)
@click.argument("folder", type=jobs.PathOrS3())
@click.option("--names", type=jobs.PathOrS3(), help="A JSON object from id to name, in a file.")
@click.option("--append", is_flag=True, help="Add to the photos that are enrolled already.")
@click.option("--force", is_flag=True, help="Also photos that are poor, or of somebody else.")
@retention_options
@jobs.COLLECTION
@click.option(
    "--out",
    metavar="s3://BUCKET/PREFIX",
    type=jobs.S3Folder(),
    help="Of a bucket: where the results go, by which a stopped run goes on.",
)
@click.option(
    "--concurrency",
    default=4,
    show_default=True,
    type=Integer(1, 32),
    help="Of a bucket: people who are enrolled at once.",
)
@click.option(
    "--part-people",
    default=100,
    show_default=True,
    type=Integer(1, 10_000),
    help="Of a bucket: people in one object of results.",
)
@jobs.MAX_BYTES
@jobs.WAIT
@jobs.ERRORS_ARE_RESULTS
@URL
@ENDPOINT
@REGION
@pass_services
def enroll(
    services: Services,
    /,
    folder: Path | Folder,
    names: Path | Folder | None,
    append: bool,
    force: bool,
    collection: str | None,
    url: str,
    out: Folder | None,
    concurrency: int,
    part_people: int,
    max_bytes: int,
    wait: int,
    errors_are_results: bool,
    endpoint: str | None,
    region: str,
    **given: str | None,
) -> None:
    """Enrol the people of FOLDER: a folder of photos named by the id, or a folder of such.

    FOLDER may be s3://BUCKET/PREFIX, and --names s3://BUCKET/KEY. Then --out is needed: started
    again with the same words, the command goes on where it was stopped.
    """
    retention = retention_of(**given)
    jobs.check_collection(collection)
    if isinstance(folder, Path):
        _refuse_options_of_buckets()
        if isinstance(names, Folder):
            raise click.UsageError("Names in a bucket are for people in a bucket.")
        _enroll_folder(url, collection, folder, names, append, force, retention)
        return
    if out is None:
        raise click.UsageError("People in a bucket need --out, where the results go.")
    options = BucketOptions(
        out, concurrency, part_people, max_bytes, wait, errors_are_results, endpoint, region
    )
    enroll_bucket(services, folder, names, append, force, retention, url, collection, options)


def _refuse_options_of_buckets() -> None:
    context = click.get_current_context()
    of_buckets = (
        *("out", "concurrency", "part_people", "max_bytes", "wait", "errors_are_results"),
        *("endpoint", "region"),
    )
    for name in of_buckets:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} is for people in a bucket, s3://BUCKET/PREFIX.")


def _enroll_folder(
    url: str,
    collection: str | None,
    folder: Path,
    names: Path | None,
    append: bool,
    force: bool,
    retention: Mapping[str, Any],
) -> None:
    found = people_in(folder, names)
    people = found.people
    enroller = Enroller(client(url, collection=collection), force, retention)
    failed: list[str] = []
    with progress_bar() as progress:
        task = progress.add_task("Enrolling", total=sum(len(p.photos) for p in people))
        for person in people:
            progress.update(task, description=f"Enrolling {person.id}")
            try:
                _enroll(enroller, person, append, progress, task)
            except (ClientError, NoneUsable, ChangedMeanwhile) as error:
                failed.append(f"{person.id}: {error}")
    for line in failed:
        click.echo(harmless(line), err=True)
    click.echo(f"{len(people) - len(failed)} of {len(people)} people are enrolled.")
    if found.passed_over is not None:
        click.echo(harmless(found.passed_over))
    if found.unused_names is not None:
        click.echo(harmless(found.unused_names))
    if failed:
        raise Failed(f"{len(failed)} could not be enrolled.")


def _enroll(
    enroller: Enroller, person: PersonFolder, append: bool, progress: Progress, task: Any
) -> None:
    def answered(
        photos: Sequence[Photo],
        reports: Sequence[Mapping[str, Any]],
        conflicts: Sequence[Mapping[str, Any]],
    ) -> None:
        for photo, report in zip(photos, reports, strict=False):
            if not report["used"]:
                progress.console.print(f"{photo.name}: not used. {report['reason']}")
        for conflict in conflicts:
            for n in conflict["images"]:
                progress.console.print(f"{photos[n].name}: {conflict_sentence(conflict)}")
        progress.advance(task, len(photos))

    def send(photos: Sequence[Photo], append: bool) -> Answer:
        return enroller.send(person.id, person.name, photos, append, answered)

    photos = (Photo(str(path), path, path.stat().st_size) for path in person.photos)
    enrolled = enrol(batches(photos), send, append=append)
    if enrolled is not None and enrolled.refused is not None:
        progress.console.print(f"{person.id}: {enrolled.refused}")
