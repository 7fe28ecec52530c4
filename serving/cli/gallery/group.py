"""The commands `faces gallery …`: work on the bucket itself, whether the service runs or not."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from serving.cli.config import read_config
from serving.cli.lazy import LazyGroup
from serving.cli.services import Services
from serving.cli.terminal import CONFIG, Failed, Integer
from serving.gallery import Kind, Operation
from serving.gallery.erasure import Erasure
from serving.gallery.location import Location
from serving.gallery.writer import ACTIONS
from serving.matching import retention
from serving.operations import audit, trail
from serving.operations.bucket import Bucket
from serving.operations.config import Config

ID = Integer(0, 2**63 - 1)
COLLECTION = click.option("--collection", help="Instead of the configured one.")
MODEL = click.option("--model", help="Id of the model, where several have a gallery.")
YES = click.option("--yes", is_flag=True, help="Do not ask.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


PLACES = {
    name: f"serving.cli.gallery.{place}"
    for name, place in {
        "check": "upkeep:check",
        "compact": "upkeep:compact",
        "delete": "change:delete",
        "describe": "change:describe",
        "distinct": "correct:distinct",
        "duplicates": "look:duplicates_",
        "erase": "change:erase",
        "expire": "retention:expire",
        "export": "transfer:export",
        "import": "transfer:import_",
        "list": "look:list_",
        "merge": "change:merge",
        "migrate": "migrate:migrate_command",
        "move": "correct:move",
        "photos": "correct:photos",
        "rename": "change:rename",
        "restore": "restore:restore",
        "retain": "retention:retain",
        "show": "look:show",
        "sweep": "upkeep:sweep",
        "undo": "correct:undo",
        "unmerge": "correct:unmerge",
        "withdraw": "retention:withdraw",
    }.items()
}


@click.group(cls=LazyGroup, places=PLACES)
def gallery() -> None:
    """Look at the gallery in the bucket, change it, and keep it in order."""


def gallery_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which gallery."""
    return CONFIG(COLLECTION(MODEL(command)))


def recorded(services: Services, config: Path) -> Config:
    """Read the configuration; what the command changes goes into the audit's objects, where it has
    them."""
    read = read_config(config)
    click.get_current_context().with_resource(audit.recording(read, services.connect))
    return read


class Opened:
    """One gallery, opened by the options."""

    def __init__(
        self, services: Services, config: Path, collection: str | None, model: str | None
    ) -> None:
        self.read = recorded(services, config).of_collection(collection)
        self.args = self.read.args
        self.bucket = Bucket.of(self.read, connect=services.connect)
        self.location = self.bucket.one(model)
        self.gallery = self.bucket.gallery(self.location)

    def change(self, kind: Kind, person: int, require: Sequence[int] = (), **more: Any) -> None:
        operation = Operation(kind, person, time.time(), **more)
        version = retention.commit(self.gallery, [operation], require)
        ids = [] if kind is Kind.CLEAR else [person, *operation.sources]
        audit.changed(ACTIONS[kind], self.location, ids, version)
        click.echo(f"Done; the gallery's version is {version}.")


def report_erasure(
    action: str, services: Services, read: Config, erasure: Erasure, people: Sequence[int]
) -> None:
    """Record the erasure of these people, print its receipts, and forget who they were in the
    audit.

    Args:
        read: with the collection of the erasure.

    Raises:
        Failed: it was not made everywhere.
    """
    for receipt in erasure.receipts:
        location = Location(read.args.gallery.collection, receipt.model, 0)
        audit.changed(action, location, receipt.ids, receipt.gallery_version)
    click.echo(json.dumps([dataclasses.asdict(r) for r in erasure.receipts], indent=2))
    forget_in_audit(services, read, people)
    if erasure.left:
        problems = "\n".join(f"{left.gallery}: {left.problem}" for left in erasure.left)
        raise Failed(f"Not erased everywhere; mend these galleries, and erase again.\n{problems}")


def forget_in_audit(services: Services, read: Config, people: Sequence[int]) -> None:
    """See `trail.forget`; where the configuration writes no objects there is nothing to forget."""
    if read.args.audit.objects.enabled:
        trail.forget(read, people, services.connect)
