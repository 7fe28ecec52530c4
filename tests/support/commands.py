"""The commands of a group, whether they are imported yet or not."""

from __future__ import annotations

from collections.abc import Iterator

import click


def children(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in sorted(group.list_commands(context)):
        command = group.get_command(context, name)
        assert command is not None
        yield name, command
