"""The commands `faces events …`: events that were given up, listed, delivered again or removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from serving.cli.config import read_config
from serving.cli.lazy import LazyGroup
from serving.cli.services import Services, pass_services
from serving.cli.terminal import CONFIG, Command, harmless
from serving.operations import events as work
from serving.trail.places import time_of

PLACES = {
    "dead": "serving.cli.events:dead_command",
    "discard": "serving.cli.events:discard",
    "redeliver": "serving.cli.events:redeliver",
}


@click.group(cls=LazyGroup, places=PLACES)
def events() -> None:
    """See the events that a webhook did not take, and deliver them again."""


@click.command("dead", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line for each.")
@CONFIG
@pass_services
def dead_command(services: Services, config: Path, as_json: bool) -> None:
    """Print the events that were given up, a line each, with the name that the others take."""
    for name, dead in work.dead(read_config(config), services.connect):
        if as_json:
            click.echo(json.dumps({"name": name, **dead.model_dump(mode="json")}))
            continue
        event = dead.event
        click.echo(
            harmless(
                f"{name} {event.get('type')} of {event.get('subject', '-')} in "
                f"{event.get('source')} of {event.get('time')}, given up at "
                f"{time_of(dead.buried)} after {dead.tries} tries: {dead.problem}"
            )
        )


def _chosen(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which events."""
    everything = click.option("--all", "everything", is_flag=True, help="All of them.")
    return click.argument("names", metavar="NAME...", nargs=-1)(everything(command))


def _names(names: Sequence[str], everything: bool) -> Sequence[str] | None:
    if bool(names) == everything:
        raise click.UsageError("Give names, or --all.")
    return None if everything else names


@click.command(cls=Command)
@_chosen
@CONFIG
@pass_services
def redeliver(services: Services, config: Path, names: Sequence[str], everything: bool) -> None:
    """Queue events again that were given up: they are as new."""
    chosen = _names(names, everything)
    count = work.redeliver(read_config(config), chosen, services.connect)
    click.echo(f"{count} events are queued again.")


@click.command(cls=Command)
@_chosen
@CONFIG
@pass_services
def discard(services: Services, config: Path, names: Sequence[str], everything: bool) -> None:
    """Remove events for good that were given up."""
    chosen = _names(names, everything)
    count = work.discard(read_config(config), chosen, services.connect)
    click.echo(f"{count} events are removed.")
