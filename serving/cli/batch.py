"""The command `faces batch`: every photo of a prefix looked up by the running service."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import click

from serving.cli import jobs
from serving.cli.services import Services, pass_services
from serving.cli.terminal import (
    ENDPOINT,
    REGION,
    URL,
    Command,
    Integer,
    Number,
    harmless,
    progress_bar,
)
from serving.client import Client, ClientError
from serving.errors import ServingError, TimedOut, TooLarge, UnsupportedImage
from serving.operations.batch.formats import JSON_LINES, PARQUET, Line
from serving.operations.batch.job import Folder
from serving.operations.batch.look_ups import LookUpJob, LookUps
from serving.operations.batch.reading import Refused
from serving.operations.batch.run import run

# These blame the photo. Everything else (no answer, a key that is refused, a gallery that cannot be
# read) would befall all photos after it, too.
_OF_THE_PHOTO = {error.type for error in (TooLarge, UnsupportedImage, TimedOut, ServingError)}


@click.command(cls=Command)
@click.argument("source", metavar="s3://BUCKET/PREFIX", type=jobs.S3Folder())
@click.option(
    "--out",
    required=True,
    metavar="s3://BUCKET/PREFIX",
    type=jobs.S3Folder(),
    help="Where the results go, as numbered objects.",
)
@click.option(
    "--format",
    type=click.Choice([JSON_LINES, PARQUET]),
    default=JSON_LINES,
    show_default=True,
    help="Of the results: JSON Lines, or Parquet, which needs pyarrow.",
)
@click.option("--top-k", type=Integer(1, 100), help="Candidates for each face.")
@click.option("--threshold", type=Number(-1, 1), help="Cosine from which on a face is named.")
@click.option("--max-faces", type=Integer(1, 1000), help="Faces of a photo, the largest.")
@jobs.COLLECTION
@click.option(
    "--concurrency",
    default=8,
    show_default=True,
    type=Integer(1, 32),
    help="Photos that are read and looked up at once.",
)
@click.option(
    "--part-photos",
    default=500,
    show_default=True,
    type=Integer(1, 10_000),
    help="Photos in one object of results.",
)
@jobs.MAX_BYTES
@jobs.WAIT
@jobs.ERRORS_ARE_RESULTS
@URL
@ENDPOINT
@REGION
@pass_services
def batch(
    services: Services,
    source: Folder,
    out: Folder,
    format: str,
    top_k: int | None,
    threshold: float | None,
    max_faces: int | None,
    collection: str | None,
    concurrency: int,
    part_photos: int,
    max_bytes: int,
    wait: int,
    errors_are_results: bool,
    url: str,
    endpoint: str | None,
    region: str,
) -> None:
    """Ask who is in every photo below an S3 prefix, and write the answers to a bucket.

    The service at --url is asked. Started again with the same words, it goes on where it was
    stopped. Keys of the buckets come from the environment, as everywhere with S3.
    """
    jobs.check_collection(collection)
    job = LookUpJob(
        source=str(source),
        collection=collection,
        max_bytes=max_bytes,
        top_k=top_k,
        threshold=threshold,
        max_faces=max_faces,
        part_photos=part_photos,
        format=format,
    )
    stopping = threading.Event()
    patience = jobs.patience(stopping)
    needs = "looking up photos needs to get and list objects"
    photos = jobs.place(services, source, endpoint, region, needs, patience)
    needs = "writing results needs to get, put and list objects"
    results = jobs.place(services, out, endpoint, region, needs, patience)
    service = jobs.patient_client(url, collection, wait, stopping)
    with progress_bar() as progress:
        task = progress.add_task("Looking up", total=None)
        errors = jobs.Errors(progress, "photo")

        def done(line: Line) -> None:
            progress.advance(task)
            errors.line(line)

        finished = run(
            LookUps(job, photos, lambda p: _look_up(service, p, top_k, threshold, max_faces)),
            results,
            concurrency=concurrency,
            begun=lambda lines: progress.advance(task, lines),
            done=done,
            stopping=stopping,
        )
    jobs.report(finished, out, _say)
    jobs.fail_for(finished.summary, "photos could not be looked up.", errors_are_results)


def _look_up(
    service: Client,
    photo: bytes,
    top_k: int | None,
    threshold: float | None,
    max_faces: int | None,
) -> Mapping[str, Any]:
    try:
        return service.infer(photo, top_k=top_k, threshold=threshold, max_faces=max_faces)
    except ClientError as error:
        # A proxy with a limit of its own has no type of ours.
        kind = TooLarge.type if error.status == TooLarge.status else error.type
        if kind not in _OF_THE_PHOTO:
            raise
        raise Refused(kind, error.status, error.detail) from None


def _say(summary: Mapping[str, Any]) -> None:
    passed_over = summary["passed_over"]
    click.echo(
        f"{summary['photos']} photos in {summary['seconds']:.1f} s, "
        f"{summary['photos_per_second']:.1f} a second; errors: {jobs.errors_of(summary)}."
        + (f" Passed over, since they are no photos: {passed_over}." if passed_over else "")
    )
    click.echo(
        f"{summary['faces']} faces: {summary['named']} named, {summary['unknown']} unknown, "
        f"{summary['too_poor']} too poor, {summary['ambiguous']} ambiguous, "
        f"{summary['not_live']} not live; {summary['without_faces']} photos without a face."
    )
    if versions := summary["gallery_versions"]:
        low, high = versions
        seen = f"version {low}" if low == high else f"versions {low} to {high}"
        click.echo(harmless(f"{', '.join(summary['models'])}, gallery {seen}"))
