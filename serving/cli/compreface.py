"""The command `faces import compreface`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import click

from serving.cli import terminal
from serving.cli.terminal import NEW_PATH, URL, Command, Failed, harmless
from serving.errors import InvalidInput
from serving.operations.compreface import ENROLLED, MISSING, REFUSED, move
from serving.operations.compreface_api import CompreFaceApi
from serving.settings import COLLECTION_RULE, is_collection


@click.command(cls=Command)
@click.argument("source", metavar="URL")
@click.option(
    "--api-key",
    required=True,
    envvar="COMPREFACE_API_KEY",
    help="Of the recognition service of CompreFace.",
)
@URL
@click.option(
    "--key",
    default="",
    envvar="FACES_KEY",
    help="API key of this service, with the scope enrol.",
)
@click.option("--collection", help="Of this service; default: its own.")
@click.option(
    "--report",
    type=NEW_PATH,
    default=Path("compreface-import.jsonl"),
    show_default=True,
    help="What became of each picture; with it an import goes on where it stopped.",
)
@click.option("--again", is_flag=True, help="Also pictures that were refused before.")
def compreface(
    source: str,
    api_key: str,
    url: str,
    key: str,
    collection: str | None,
    report: Path,
    again: bool,
) -> None:
    """Import the subjects of CompreFace at URL with their saved pictures.

    Each picture is enrolled as any photo is, so a poor one is refused. The service needs the
    setting compreface while this runs.
    """
    if collection is not None:
        if not is_collection(collection):
            raise InvalidInput(f"{COLLECTION_RULE.capitalize()}.")
        url = f"{url.rstrip('/')}/collections/{quote(collection)}"
    with (
        CompreFaceApi(source, api_key, "CompreFace") as there,
        CompreFaceApi(url, key, "This service") as here,
        terminal.progress_bar() as progress,
    ):
        task = progress.add_task("Importing", total=None)
        outcome = move(
            there,
            here,
            report,
            again=again,
            found=lambda faces: progress.update(task, total=faces),
            done=lambda: progress.advance(task),
        )
    for line in outcome.refused:
        click.echo(harmless(line), err=True)
    for subject in outcome.empty:
        click.echo(harmless(f"{subject}: it has no face, so it is not here."), err=True)
    for image in outcome.twice:
        click.echo(f"{image} may be here twice; remove one with a key that may.", err=True)
    click.echo(
        f"{outcome.counts[ENROLLED]} of {outcome.faces} faces are enrolled; {report} has each."
    )
    lacking = outcome.counts[REFUSED] + outcome.counts[MISSING]
    if lacking:
        raise Failed(f"{lacking} could not be enrolled.")
