"""The command `faces`. Exit codes: 0 done, 1 failed (a sentence says why), 2 wrong usage."""

from __future__ import annotations

import logging

import click

from serving import __version__
from serving.actor import acting
from serving.cli.calibrate import calibrate_command
from serving.cli.enroll import enroll
from serving.cli.evaluate import evaluate_command
from serving.cli.gallery import change, look, transfer, upkeep
from serving.cli.gallery.group import gallery
from serving.cli.gallery.migrate import migrate_command
from serving.cli.gallery.restore import restore
from serving.cli.infer import infer
from serving.cli.key import key
from serving.cli.model import model
from serving.cli.status import status
from serving.cli.terminal import Failed
from serving.cli.up import up
from serving.client import ClientError
from serving.errors import ServingError
from serving.model.repository import ModelError
from serving.operations import audit
from serving.operations.folders import NotPeople
from serving.stack.process import StackError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.pass_context
def cli(context: click.Context) -> None:
    """Identify faces: run the service, enrol people, ask who is in a photo."""
    context.with_resource(acting(audit.user()))


command: click.Command
for command in (
    look.list_,
    look.show,
    look.duplicates_,
    change.rename,
    change.describe,
    change.delete,
    change.merge,
    change.erase,
    transfer.import_,
    transfer.export,
    restore,
    upkeep.compact,
    upkeep.sweep,
    upkeep.check,
    migrate_command,
):
    gallery.add_command(command)
for command in (up, enroll, infer, status, gallery, key, model):
    cli.add_command(command)
for command in (evaluate_command, calibrate_command):
    cli.add_command(command)
cli.add_command(transfer.import_)


def main() -> None:
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s: %(message)s")
    try:
        cli()
    except (ClientError, ServingError, StackError, NotPeople, ModelError) as error:
        Failed(str(error)).show()
        raise SystemExit(1) from None
