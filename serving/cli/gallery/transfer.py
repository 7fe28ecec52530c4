"""The commands `faces gallery import` and `export`."""

from __future__ import annotations

from pathlib import Path

import click

from serving.cli import terminal
from serving.cli.gallery.group import COLLECTION, Opened, gallery_options, recorded
from serving.cli.services import Services, pass_services
from serving.cli.terminal import CONFIG, NEW_PATH, PATH, Command, Failed
from serving.gallery.transfer import export_file, export_folder
from serving.operations.imports import import_path


@click.command(name="import", cls=Command)
@click.argument("path", type=PATH)
@click.option("--made-by", metavar="MODEL", help="Id of the model that made .pt files.")
@click.option("--append", is_flag=True, help="Add to the photos that are enrolled already.")
@CONFIG
@COLLECTION
@pass_services
def import_(
    services: Services,
    path: Path,
    made_by: str | None,
    append: bool,
    config: Path,
    collection: str | None,
) -> None:
    """Import embeddings from PATH: all of them or, on an error, none.

    A safetensors file as `export` writes it, a .pt tensor named by the person's id, or a folder of
    such files, or of folders of .pt files named by the id.
    """
    configured = recorded(services, config).of_collection(collection)
    total = 0
    with terminal.progress_bar() as progress:
        task = progress.add_task("Importing", total=None)

        def found(people: int) -> None:
            nonlocal total
            total = people
            progress.update(task, total=people)

        version = import_path(
            path,
            configured,
            made_by=made_by,
            append=append,
            connect=services.connect,
            found=found,
            imported=lambda people: progress.advance(task, people),
        )
    click.echo(f"{total} people are imported; the gallery's version is {version}.")


@click.command(cls=Command)
@click.argument("path", type=NEW_PATH)
@click.option("--replace", is_flag=True, help="Overwrite the file, if it is there already.")
@gallery_options
@pass_services
def export(
    services: Services,
    config: Path,
    collection: str | None,
    model: str | None,
    path: Path,
    replace: bool,
) -> None:
    """Export everybody with all embeddings and names.

    Into one file, when PATH ends in .safetensors; otherwise into an empty folder, one file a
    person.
    """
    if path.is_file() and not replace:  # it may be the last backup of who is gone since
        raise Failed(f"{path} is there already; give another name, or --replace.")
    opened = Opened(services, config, collection, model)
    try:
        with terminal.progress_bar() as progress:
            people = len(opened.gallery.refresh())
            task = progress.add_task("Exporting", total=people)
            if path.suffix == ".safetensors":
                done, version = export_file(opened.gallery, opened.location.model, path)
                progress.update(task, completed=done, total=done)
            else:
                done, version = export_folder(
                    opened.gallery,
                    opened.location.model,
                    path,
                    lambda people: progress.advance(task, people),
                )
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror or error}.") from None
    click.echo(f"{done} people of version {version} are exported to {path}.")
