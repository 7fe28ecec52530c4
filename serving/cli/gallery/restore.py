"""The command `faces gallery restore`."""

from __future__ import annotations

from pathlib import Path

import click

from serving.cli.gallery.group import gallery_options, recorded
from serving.cli.services import Services, pass_services
from serving.cli.terminal import PATH, Command, Integer, confirm
from serving.errors import InvalidInput
from serving.gallery import restore as restoring
from serving.gallery.location import Location, location_of
from serving.operations import audit
from serving.operations.bucket import Bucket


@click.command(cls=Command)
@click.argument("manifest", type=PATH, required=False)
@click.option("--version", type=Integer(1), help="Instead of MANIFEST: one of its versions.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@gallery_options
@pass_services
def restore(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    manifest: Path | None,
    version: int | None,
    yes: bool,
) -> None:
    """Make an earlier version of the gallery the newest one.

    MANIFEST is the manifest.json of a backup; what it lists in index/ and segments/ has to be in
    the bucket. Readers load anew, and writers may go on meanwhile. What was written since that
    version is no longer in the gallery.
    """
    if (manifest is None) == (version is None):
        raise click.UsageError("Give the MANIFEST of a backup, or --version.")
    bucket = Bucket.of(recorded(services, config), collection, connect=services.connect)
    location = bucket.one(model) if manifest is None else _location(bucket, manifest, model)
    gallery = bucket.stored(location)
    if manifest is not None:
        backup = gallery.file.of_backup(manifest.read_bytes())
    else:
        assert version is not None
        backup = restoring.as_of(gallery, version)
    if not yes:
        now, _ = gallery.file.read()
        confirm(
            f"Replace the people of {location}, version {now.version}, by those of version "
            f"{backup.version}?"
        )
    done = restoring.restore(gallery, backup)
    audit.changed("restore", location, (), done.gallery_version)
    if done.left_out:
        click.echo(f"Left out, as they were erased since: {', '.join(map(str, done.left_out))}.")
    click.echo(
        f"The {done.embeddings} embeddings of version {done.of_version} are the gallery again; "
        f"its version is {done.gallery_version}."
    )


def _location(bucket: Bucket, manifest: Path, model: str | None) -> Location:
    """The gallery of a manifest in a file: the one in the bucket may be gone."""
    location = location_of(manifest.read_bytes(), bucket.settings.collection, manifest.name)
    if model not in (None, location.model):
        raise InvalidInput(f"{manifest.name} is of {location.model}, and not of {model}.")
    return location
