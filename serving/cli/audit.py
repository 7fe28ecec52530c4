"""The commands `faces audit …`: the audit's objects searched, checked and expired."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import click

from serving.cli.config import read_config
from serving.cli.lazy import LazyGroup
from serving.cli.services import Services, pass_services
from serving.cli.terminal import CONFIG, NEW_PATH, PATH, Command, Failed, Integer, harmless
from serving.operations import trail
from serving.settings import MAX_ID
from serving.trail.chain import Head
from serving.trail.inputs import hash_of, key_in
from serving.trail.reading import Query
from serving.trail.records import Record

ID = Integer(0, MAX_ID)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d(:\d\d(:\d\d(\.\d+)?)?)?Z?)?")


class _Time(click.ParamType[str]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            if _TIME.fullmatch(value) is None:
                raise ValueError
            date.fromisoformat(value[:10])
        except ValueError:
            self.fail(f"{value!r} is no time in UTC, such as 2026-11-29 or 2026-11-29T20:16Z.")
        return value.removesuffix("Z")


PLACES = {
    name: f"serving.cli.audit:{name}" for name in ("expire", "export", "forget", "search", "verify")
}


@click.group(cls=LazyGroup, places=PLACES)
def audit() -> None:
    """Search the audit's objects in the bucket, check their chains, and remove old ones."""


def _query_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which records."""
    options = [
        click.option("--since", type=_Time(), help="Ended then or later (UTC)."),
        click.option("--until", type=_Time(), help="Ended before then (UTC)."),
        click.option("--collection", help="Of one collection."),
        click.option("--person", type=ID, help="That name this id, as answer or as candidate."),
        click.option("--key", help="Of the caller with the key of this name."),
        click.option("--action", help="identify, verify, enrol, erase, request and so on."),
        click.option("--request-id", help="Of one request."),
        click.option("--photo", type=PATH, help="That looked up this file; needs FACES_AUDIT_KEY."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command(cls=Command)
@_query_options
@_JSON
@CONFIG
@pass_services
def search(services: Services, /, config: Path, as_json: bool, **query: Any) -> None:
    """Print the records that match, a line each."""
    for record in _found(services, config, query):
        click.echo(json.dumps(record) if as_json else _line(record))


@click.command(cls=Command)
@click.argument("file", type=NEW_PATH)
@_query_options
@CONFIG
@pass_services
def export(services: Services, /, config: Path, file: Path, **query: Any) -> None:
    """Write the records that match to a new FILE, as lines of JSON."""
    count = 0
    try:
        lines = file.open("x", encoding="utf-8")
    except OSError as error:
        raise Failed(f"{file} cannot be made: {error.strerror}.") from None
    try:
        with lines:
            for record in _found(services, config, query):
                lines.write(json.dumps(record) + "\n")
                count += 1
    except BaseException:
        file.unlink()  # a part must not look like the whole
        raise
    click.echo(f"{count} records written to {file}.")


def _found(services: Services, config: Path, query: Mapping[str, Any]) -> Iterator[Record]:
    photo = query["photo"]
    of = Query(
        input=None if photo is None else hash_of(photo.read_bytes(), key_in(os.environ)),
        **{name: value for name, value in query.items() if name != "photo"},
    )
    return trail.search(read_config(config), of, services.connect)


def _line(record: Record) -> str:
    version = record.get("gallery_version")
    parts = [
        str(record.get("ended")),
        f"{record.get('action')} {', '.join(map(str, record.get('ids', ()))) or '-'}",
        f"in {record.get('collection')}" + ("" if version is None else f" version {version}"),
        f"by {record.get('key')}: {record.get('outcome')}",
    ]
    verifiers = record.get("verifiers")
    parts += [f"verified by {', '.join(verifiers)}"] if verifiers else []
    return harmless(" ".join([*parts, f"[{record.get('request_id')}]"]))


@click.command(cls=Command)
@click.option(
    "--heads",
    type=PATH,
    help="What --json printed before: none of these objects may be missing or changed.",
)
@_JSON
@CONFIG
@pass_services
def verify(services: Services, config: Path, heads: Path | None, as_json: bool) -> None:
    """Check every chain: no object is missing or changed. Keep what --json prints elsewhere."""
    known = {} if heads is None else _heads(heads)
    reports, expired = trail.check(read_config(config), known, services.connect)
    if as_json:
        chains = {r.chain: dataclasses.asdict(r) for r in reports}
        click.echo(json.dumps({"expired_before": expired, "chains": chains}, indent=2))
    else:
        if expired is not None:
            click.echo(f"What is older than {expired} was removed by retention.")
        for report in reports:
            state = "ended" if report.ended else "without an end: it runs, or was killed"
            last = 0 if report.head is None else report.head.number
            click.echo(
                f"{report.chain}: objects {report.first} to {last}, {report.records} records, "
                f"{report.lost} lost, {state}"
            )
    problems = [f"{r.chain}: {problem}" for r in reports for problem in r.problems]
    if problems:
        raise Failed("\n".join(problems))


def _heads(file: Path) -> dict[str, Head]:
    try:
        chains = json.loads(file.read_text(encoding="utf-8"))["chains"]
        return {name: Head(**c["head"]) for name, c in chains.items() if c["head"] is not None}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Failed(f"{file} is not what faces audit verify --json prints.") from None


@click.command(cls=Command)
@click.option("--days", type=Integer(1), help="Instead of audit.objects.retention_days.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@CONFIG
@pass_services
def expire(services: Services, config: Path, days: int | None, dry_run: bool) -> None:
    """Remove the records that are older than the retention, and ids that came after an erasure."""
    removed = trail.expire(read_config(config), days, dry_run, services.connect)
    if removed is None:
        click.echo("The configuration writes no objects of the audit.")
        return
    verb = "would be removed" if dry_run else "removed"
    older = "" if removed.before is None else f" older than {removed.before}"
    click.echo(f"{removed.objects} objects{older} and {removed.people} pseudonyms' ids {verb}.")


@click.command(cls=Command)
@click.argument("people", metavar="ID...", type=ID, nargs=-1, required=True)
@click.option("--collection", help="Instead of the configured one.")
@CONFIG
@pass_services
def forget(services: Services, config: Path, collection: str | None, people: Sequence[int]) -> None:
    """Remove the ids of people from the audit, as `faces gallery erase` does: their records stay,
    each with a pseudonym."""
    configured = read_config(config).of_collection(collection)
    count = trail.forget(configured, people, services.connect)
    click.echo(f"{count} pseudonyms name nobody any more.")
