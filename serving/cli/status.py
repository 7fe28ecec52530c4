"""The command `faces status`."""

from __future__ import annotations

import click

from serving.cli.terminal import URL, Command, client, harmless


@click.command(cls=Command)
@URL
def status(url: str) -> None:
    """Say whether the service can do its work, and what it holds."""
    body = client(url).ready()
    for name, check in body["checks"].items():
        if isinstance(check, dict):
            problem = f" {check['problem']}" if check["problem"] else ""
            check = (
                f"version {check['version']}, {check['people']} people, {check['photos']} photos"
                if check["loaded"]
                else "not loaded"
            ) + problem
        click.echo(harmless(f"{name}: {check}"))
    click.echo("ready" if body["ready"] else "not ready")
    if not body["ready"]:
        raise SystemExit(1)
