"""The commands `faces import`: embeddings from files, and people from other services."""

from __future__ import annotations

import click

from serving.cli.lazy import LazyGroup

_FILE = "file"
PLACES = {
    "compreface": "serving.cli.compreface:compreface",
    _FILE: "serving.cli.gallery.transfer:import_",
}


class FileByDefault(LazyGroup):
    """A group of which one command needs no name: what is no name of a command is its PATH."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in PLACES:
            args = [_FILE, *args]
        return super().resolve_command(ctx, args)


# Options before the path are those of the command for files.
@click.group(
    name="import",
    cls=FileByDefault,
    places=PLACES,
    context_settings={"ignore_unknown_options": True},
    options_metavar="",
    subcommand_metavar="PATH | COMMAND [ARGS]...",
)
def import_() -> None:
    """Import embeddings from PATH, or people from another service.

    `faces import PATH` is `faces import file PATH`, and has its options.
    """
