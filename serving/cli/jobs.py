"""What the commands over a bucket share: options, the ways to the bucket and to the service, and
the errors that are shown while they run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import click
from rich.progress import Progress

from serving.cli.services import Services
from serving.cli.terminal import PATH, Failed, Integer, client, endpoint_of, harmless
from serving.client import Client, ClientError, Retry
from serving.errors import InvalidInput
from serving.operations.batch.job import SUMMARY, Folder, Place
from serving.operations.batch.patience import Patience, PatientStore
from serving.operations.batch.run import Done
from serving.settings import COLLECTION_RULE, GallerySettings, LimitSettings, is_collection

# With the service and with the store. As many attempts as fit: at each the service says when to
# come back. It is long enough for a restart of a stage, and a photo that takes the service's whole
# minute in vain is sent twice.
_PATIENCE_S = 100.0
_READ_TIMEOUT_S = 30.0
_LOOK_S = 2.0
_SHOWN = 20


class S3Folder(click.ParamType[Folder]):
    name = "s3"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return Folder.parse(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class PathOrS3(S3Folder):
    """A path on this machine, or ``s3://BUCKET/KEY``."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value.startswith("s3://"):
            return super().convert(value, param, ctx)
        return PATH.convert(value, param, ctx)


COLLECTION = click.option("--collection", help="Of the service; default: its own.")
MAX_BYTES = click.option(
    "--max-bytes",
    default=LimitSettings().max_image_bytes,
    show_default=True,
    type=Integer(1),
    help="A larger photo is not read: the service's limits.max_image_bytes.",
)
WAIT = click.option(
    "--wait",
    default=0,
    show_default=True,
    type=Integer(0),
    metavar="SECONDS",
    help="For a service that is not ready yet.",
)
ERRORS_ARE_RESULTS = click.option(
    "--errors-are-results",
    is_flag=True,
    help="Exit with 0 when all is done, whatever has an error in the results.",
)


def check_collection(collection: str | None) -> None:
    """Raises InvalidInput when it is no name of one."""
    if collection is not None and not is_collection(collection):
        raise InvalidInput(f"{COLLECTION_RULE.capitalize()}.")


def patience(stopping: threading.Event) -> Patience:
    """Patience with the object store, until ``stopping`` is set."""
    return Patience(
        _PATIENCE_S,
        lambda sentence: click.echo(harmless(sentence), err=True),
        lambda seconds: pause(stopping, seconds),
    )


def place(
    services: Services,
    folder: Folder,
    endpoint: str | None,
    region: str,
    needs: str,
    patience: Patience,
) -> Place:
    """The folder in its bucket, which is waited for.

    Args:
        needs: the permissions that the keys need, for the error when they lack them.
        patience: shared by all places of a run.
    """
    settings = GallerySettings(
        bucket=folder.bucket,
        endpoint=endpoint_of(endpoint),
        region=region,
        read_timeout_s=_READ_TIMEOUT_S,
    )
    store = services.connect(settings, needs=needs)
    return Place(PatientStore(store, folder.prefix, patience), folder)


def patient_client(
    url: str, collection: str | None, wait_s: float, stopping: threading.Event
) -> Client:
    """A client that comes back while the service is busy or restarts, until ``stopping`` is set.

    Args:
        wait_s: how long a service may take to be ready; 0: it has to answer now.

    Raises:
        ClientError: it does not answer, since a wrong address is no service that will be back.
    """
    service = client(
        url,
        collection=collection,
        retry=Retry(attempts=1000, total_s=_PATIENCE_S),
        sleep=lambda seconds: pause(stopping, seconds),
    )
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        try:
            if service.ready()["ready"]:
                return service
        except ClientError as error:
            if error.status is not None and error.status < 500:
                break
        pause(stopping, _LOOK_S)
    service.health()
    return service


def pause(stopping: threading.Event, seconds: float) -> None:
    """Wait; raises ClientError when the run has ended meanwhile."""
    if stopping.wait(seconds):
        raise ClientError("The run has ended.")


class Errors:
    """Prints the errors of the first lines that have one.

    Args:
        item: the member of a line that says what it is of.
    """

    def __init__(self, progress: Progress, item: str) -> None:
        self._progress = progress
        self._item = item
        self._shown = 0

    def line(self, line: Mapping[str, Any]) -> None:
        if (error := line.get("error")) is not None:
            self.say(f"{line[self._item]}: {error['detail']}")

    def say(self, sentence: str) -> None:
        if self._shown < _SHOWN:
            self._shown += 1
            more = " Further errors are in the results only." * (self._shown == _SHOWN)
            self._progress.console.print(f"{sentence}{more}")


def report(done: Done, out: Folder, say: Callable[[Mapping[str, Any]], None]) -> None:
    """Print the end of a job.

    Args:
        say: prints its counts.
    """
    if done.before:
        click.echo("This job was finished before; new photos need another --out.")
    say(done.summary)
    click.echo(harmless(f"{out}{SUMMARY} has these counts."))


def errors_of(summary: Mapping[str, Any]) -> str:
    errors = ", ".join(f"{count} {kind}" for kind, count in sorted(summary["errors"].items()))
    return errors or "none"


def fail_for(summary: Mapping[str, Any], sentence: str, accepted: bool) -> None:
    """Raise Failed when lines have errors; ``sentence`` follows their number."""
    if (failed := sum(summary["errors"].values())) and not accepted:
        raise Failed(f"{failed} {sentence}")
