"""The command `faces`. Exit codes: 0 done, 1 failed (a sentence says why), 2 wrong usage."""

from __future__ import annotations

import errno
import getpass
import io
import logging
import sys

import click

from serving import __version__
from serving.actor import acting
from serving.cli.lazy import LazyGroup
from serving.cli.terminal import Failed

PLACES = {
    "audit": "serving.cli.audit:audit",
    "batch": "serving.cli.batch:batch",
    "calibrate": "serving.cli.calibrate:calibrate_command",
    "cluster": "serving.cli.cluster:cluster",
    "enroll": "serving.cli.enroll:enroll",
    "events": "serving.cli.events:events",
    "evaluate": "serving.cli.evaluate:evaluate_command",
    "evaluate-liveness": "serving.cli.evaluate_liveness:evaluate_liveness",
    "gallery": "serving.cli.gallery.group:gallery",
    "import": "serving.cli.imports:import_",
    "infer": "serving.cli.infer:infer",
    "key": "serving.cli.key:key",
    "model": "serving.cli.model:model",
    "status": "serving.cli.status:status",
    "up": "serving.cli.up:up",
}


@click.group(cls=LazyGroup, places=PLACES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.pass_context
def cli(context: click.Context) -> None:
    """Identify faces: run the service, enrol people, ask who is in a photo."""
    context.with_resource(acting(_user()))


def _user() -> str:
    """The user of this process as the audit log and the manifest name it."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container may run as a user without a name
        return "cli:unknown"


def main() -> None:
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s: %(message)s")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names are in any script, and a container's or cron's locale may know ASCII alone.
            stream.reconfigure(errors="backslashreplace")
    try:
        _run()
    except KeyboardInterrupt:  # after click's own care for it: while an error is reported
        click.echo("\nAborted!", err=True)
        raise SystemExit(1) from None


def _run() -> None:
    try:
        cli()
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        Failed(f"The output cannot be written: {error.strerror}.").show()
        raise SystemExit(1) from None
    except Exception as error:
        if not isinstance(error, _foreseen()):
            raise
        Failed(str(error)).show()
        raise SystemExit(1) from None


def _foreseen() -> tuple[type[Exception], ...]:
    """The errors whose text is a sentence for the user."""
    from serving.client import ClientError
    from serving.errors import ServingError
    from serving.model.repository import ModelError
    from serving.operations.names import NotPeople
    from serving.stack.process import StackError

    return ClientError, ServingError, StackError, NotPeople, ModelError
