"""The command `faces`."""

from serving.cli.root import cli, main

__all__ = ["cli", "main"]
