"""The command `faces batch`: every photo of a prefix looked up by the running service."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import click

from serving.cli.services import Services, pass_services
from serving.cli.terminal import (
    ENDPOINT,
    REGION,
    URL,
    Command,
    Failed,
    Integer,
    Number,
    client,
    endpoint_of,
    harmless,
    progress_bar,
)
from serving.client import Client, ClientError, Retry
from serving.errors import InvalidInput, ServingError, TimedOut, TooLarge, UnsupportedImage
from serving.operations.batch.formats import JSON_LINES, PARQUET
from serving.operations.batch.job import SUMMARY, Folder, Job, Place
from serving.operations.batch.run import Refused, run
from serving.settings import COLLECTION_RULE, GallerySettings, LimitSettings, is_collection

# These blame the photo. Everything else (no answer, a key that is refused, a gallery that cannot be
# read) would befall all photos after it, too.
_OF_THE_PHOTO = {error.type for error in (TooLarge, UnsupportedImage, TimedOut, ServingError)}
# As many attempts as fit: at each the service says when to come back. It is long enough for a
# restart of a stage, and a photo that takes the service's whole minute in vain is sent twice.
_PATIENCE_S = 100.0
_READ_TIMEOUT_S = 30.0
_SHOWN = 20


class _Folder(click.ParamType[Folder]):
    name = "s3"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return Folder.parse(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


@click.command(cls=Command)
@click.argument("source", metavar="s3://BUCKET/PREFIX", type=_Folder())
@click.option(
    "--out",
    required=True,
    metavar="s3://BUCKET/PREFIX",
    type=_Folder(),
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
@click.option("--collection", help="Of the service; default: its own.")
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
@click.option(
    "--max-bytes",
    default=LimitSettings().max_image_bytes,
    show_default=True,
    type=Integer(1),
    help="A larger photo is not read: the service's limits.max_image_bytes.",
)
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
    url: str,
    endpoint: str | None,
    region: str,
) -> None:
    """Ask who is in every photo below an S3 prefix, and write the answers to a bucket.

    The service at --url is asked. Started again with the same words, it goes on where it was
    stopped. Keys of the buckets come from the environment, as everywhere with S3.
    """
    if collection is not None and not is_collection(collection):
        raise InvalidInput(f"{COLLECTION_RULE.capitalize()}.")
    options = (collection, top_k, threshold, max_faces, max_bytes, part_photos, format)
    job = Job(str(source), *options)
    address = endpoint_of(endpoint)

    def place(folder: Folder, needs: str) -> Place:
        settings = GallerySettings(
            bucket=folder.bucket, endpoint=address, region=region, read_timeout_s=_READ_TIMEOUT_S
        )
        return Place(services.connect(settings, needs=needs), folder)

    stopping = threading.Event()
    service = client(
        url,
        collection=collection,
        retry=Retry(attempts=1000, total_s=_PATIENCE_S),
        sleep=lambda seconds: _pause(stopping, seconds),
    )
    service.health()  # a wrong address is no service that will be back soon
    with progress_bar() as progress:
        task = progress.add_task("Looking up", total=None)
        shown = 0

        def done(line: Mapping[str, Any]) -> None:
            nonlocal shown
            progress.advance(task)
            if (error := line.get("error")) is not None and shown < _SHOWN:
                shown += 1
                more = " Further errors are in the results only." * (shown == _SHOWN)
                progress.console.print(f"{line['photo']}: {error['detail']}{more}")

        finished = run(
            job,
            place(source, "looking up photos needs to get and list objects"),
            place(out, "writing results needs to get, put and list objects"),
            lambda photo: _look_up(service, photo, top_k, threshold, max_faces),
            concurrency=concurrency,
            begun=lambda lines: progress.advance(task, lines),
            done=done,
            stopping=stopping,
        )
    if finished.before:
        click.echo("This job was finished before; new photos need another --out.")
    _report(finished.summary)
    click.echo(harmless(f"{out}{SUMMARY} has these counts."))
    if failed := sum(finished.summary["errors"].values()):
        raise Failed(f"{failed} photos could not be looked up.")


def _pause(stopping: threading.Event, seconds: float) -> None:
    if stopping.wait(seconds):
        raise ClientError("The run has ended.")


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


def _report(summary: Mapping[str, Any]) -> None:
    errors = ", ".join(f"{count} {kind}" for kind, count in sorted(summary["errors"].items()))
    passed_over = summary["passed_over"]
    click.echo(
        f"{summary['photos']} photos in {summary['seconds']:.1f} s, "
        f"{summary['photos_per_second']:.1f} a second; errors: {errors or 'none'}."
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
