"""The commands `faces model …`: traced models, and their way into a bucket."""

from __future__ import annotations

from pathlib import Path

import click

from serving.cli.services import Services, pass_services
from serving.cli.terminal import ENDPOINT, REGION, Command, endpoint_of
from serving.model.repository import REPOSITORY, TracedModel
from serving.operations.publish import Target, publish
from serving.settings import GallerySettings

# The reply to an upload comes when the store has written all of it.
_READ_TIMEOUT_S = 30.0
_REPOSITORY = click.option(
    "--repository",
    type=click.Path(file_okay=False, path_type=Path),
    default=REPOSITORY,
    help="The local model repository; default: triton/models beside this package.",
)


@click.group()
def model() -> None:
    """Look at a traced model, and bring it to the bucket from which KServe loads it."""


@model.command(cls=Command)
@click.argument("name", metavar="MODEL")
@_REPOSITORY
def show(name: str, repository: Path) -> None:
    """Verify MODEL, and print its card."""
    click.echo(TracedModel.read(repository, name).card.to_json(indent=2))


@model.command(name="publish", cls=Command)
@click.argument("name", metavar="MODEL")
@click.argument("uri", metavar="s3://BUCKET/PREFIX/MODEL")
@_REPOSITORY
@ENDPOINT
@REGION
@click.option("--replace", is_flag=True, help="Even if another model is there.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@pass_services
def publish_(
    services: Services,
    name: str,
    uri: str,
    repository: Path,
    endpoint: str | None,
    region: str,
    replace: bool,
    dry_run: bool,
) -> None:
    """Publish MODEL as a Triton model repository, unless it is there already.

    Keys come from the environment, as everywhere with S3. A model that is served is better not
    replaced, but rolled out under another prefix.
    """
    try:
        target = Target.parse(uri, name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="URI") from None
    address = endpoint_of(endpoint)
    local = TracedModel.read(repository, name)
    settings = GallerySettings(
        bucket=target.bucket,
        endpoint=address,
        region=region,
        read_timeout_s=_READ_TIMEOUT_S,
    )
    needs = "publishing a model needs to get, put, delete and list objects"
    store = services.connect(settings, needs=needs)
    written = publish(store, target, local, replace=replace, dry_run=dry_run, say=click.echo)
    if dry_run and written:
        click.echo(f"{local.card.id} would be published to {target.storage_uri}")
    elif written:
        size = len(local.files[local.weights]) / 1e6
        click.echo(f"{local.card.id} ({size:.0f} MB) is published to {target.storage_uri}")
    else:
        click.echo(f"{local.card.id} is at {target.storage_uri} already; nothing to do.")
