"""The command `faces status`."""

from __future__ import annotations

import os
from http import HTTPStatus

import click

from serving.cli.terminal import URL, Command, Failed, client, harmless
from serving.client import Client, ClientError


@click.command(cls=Command)
@URL
def status(url: str) -> None:
    """Say whether the service can do its work, and what it holds."""
    service = client(url)
    body = service.ready()
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
    if os.environ.get("FACES_KEY"):
        _check_key(service)


def _check_key(service: Client) -> None:
    """Of a key that is not valid /readyz says nothing, since it needs none: send a photo of no
    bytes, too, for which every valid key gets another answer."""
    try:
        service.detect(b"")
    except ClientError as error:
        if error.status == HTTPStatus.UNAUTHORIZED:
            raise Failed(error.detail) from None
