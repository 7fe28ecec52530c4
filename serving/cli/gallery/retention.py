"""The commands `faces gallery retain`, `withdraw` and `expire`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import click

from serving.cli.gallery.group import (
    COLLECTION,
    ID,
    YES,
    Opened,
    forget_in_audit,
    gallery_options,
    recorded,
    report_erasure,
)
from serving.cli.retention import retention_of, retention_options
from serving.cli.services import Services, pass_services
from serving.cli.terminal import CONFIG, Command, Failed, confirm
from serving.errors import ServingError
from serving.gallery import Kind
from serving.gallery.erasure import erase_everywhere
from serving.gallery.expiry import ended
from serving.gallery.location import names
from serving.gallery.retention import text_of
from serving.operations.bucket import Bucket
from serving.operations.config import Config


@click.command(cls=Command)
@click.argument("person", metavar="ID", type=ID)
@retention_options
@click.option("--no-end", is_flag=True, help="Keep the person without an end.")
@click.option("--no-basis", is_flag=True, help="Remove the legal basis.")
@gallery_options
@pass_services
def retain(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    person: int,
    no_end: bool,
    no_basis: bool,
    expires_at: str | None,
    basis: str | None,
    reference: str | None,
    date: str | None,
    text_version: str | None,
) -> None:
    """Set until when a person may be named and kept, and on which legal basis.

    From that time on no look-up names the person, and the maintenance erases the record. Times are
    those of RFC 3339, such as 2027-01-31T00:00:00Z.
    """
    more = {"reference": reference, "date": date, "text_version": text_version}
    details = retention_of(expires_at, basis, **more)
    for name, option, removed in (
        ("expires_at", "--expires-at or --no-end", no_end),
        ("legal_basis", "--basis or --no-basis", no_basis),
    ):
        if removed and name in details:
            raise click.UsageError(f"Give {option}.")
        if removed:
            details[name] = None
    if not details:
        raise click.UsageError("Give --expires-at, --no-end, --basis or --no-basis.")
    opened = Opened(services, config, collection, model)
    opened.change(Kind.DESCRIBE, person, [person], details=details)


@click.command(cls=Command)
@click.argument("person", metavar="ID", type=ID)
@YES
@gallery_options
@pass_services
def withdraw(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    person: int,
    yes: bool,
) -> None:
    """The person has withdrawn the consent: erase, in the galleries of all models, and print a
    receipt.

    The withdrawal is noted first: nobody is named as this person from then on, whatever becomes of
    the erasure.
    """
    opened = Opened(services, config, collection, model)
    now = time.time()
    record = opened.gallery.refresh().get(person)
    basis = (record.legal_basis if record else None) or {"kind": "consent"}
    if basis["kind"] != "consent":
        raise Failed(f"The legal basis of {person} is {basis['kind']}: see erase.")
    if not yes:
        confirm(f"Erase {person} from every object of the gallery?")
    if record is not None and record.end > now:
        noted = {"legal_basis": {**basis, "withdrawn_at": text_of(now)}}
        opened.change(Kind.DESCRIBE, person, [person], details=noted)
    bucket = opened.bucket
    erasure = erase_everywhere(
        bucket.store, bucket.settings.prefix, bucket.settings.collection, [person]
    )
    report_erasure("withdraw", services, opened.read, erasure, [person])


@click.command(cls=Command)
@click.option("--dry-run", is_flag=True, help="Only say who would be erased.")
@CONFIG
@COLLECTION
@pass_services
def expire(services: Services, config: Path, collection: str | None, dry_run: bool) -> None:
    """Erase the people whose retention has ended, and print receipts; in every collection unless
    one is named."""
    read = recorded(services, config)
    if failed := list(expired(services, read, collection, dry_run=dry_run)):
        raise Failed("\n".join(failed))


def expired(
    services: Services, read: Config, collection: str | None, *, dry_run: bool = False
) -> Iterator[str]:
    """Erase the people whose retention has ended; a collection that fails does not stop the others.

    Returns:
        What failed, in sentences.
    """
    bucket = Bucket.of(read, collection, connect=services.connect)
    store, prefix = bucket.store, bucket.settings.prefix
    for name in sorted({found for found, _ in names(store, prefix, collection)}):
        of_name = read.of_collection(name)
        try:
            people = ended(store, prefix, name, time.time())
            if dry_run or not people:
                ids = ", ".join(map(str, people)) or "nobody"
                click.echo(f"{name}: {ids} {'would be' if dry_run else 'is'} erased")
                continue
            # First, too: who is erased already is not found here again, should this fail.
            forget_in_audit(services, of_name, people)
            erasure = erase_everywhere(store, prefix, name, people)
            report_erasure("expire", services, of_name, erasure, people)
        except (ServingError, Failed) as error:
            yield f"{name}: {error}"
