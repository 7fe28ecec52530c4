"""A bucket of photos and results, and the commands over it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from click.testing import CliRunner, Result

from serving.cli import cli
from serving.cli.services import Services
from tests.support.memory_store import MemoryStore
from tests.support.operations import OneBucket

SOURCE, OUT = "s3://photos/in", "s3://photos/out"
PROBLEM = "urn:faces:problem:"


class Bucket(OneBucket):
    """Of photos and of results.

    Args:
        command: that of `faces`.
        objects: by their keys.
    """

    def __init__(self, command: str, objects: Mapping[str, bytes]) -> None:
        self.objects = MemoryStore()
        super().__init__(self.objects)
        self._command = command
        for key, data in objects.items():
            self.objects.put(key, data)

    def faces(self, *words: str) -> Result:
        return CliRunner().invoke(
            cli, [self._command, *words], obj=Services(connect=self), catch_exceptions=True
        )

    def lines(self) -> list[dict[str, Any]]:
        parts = sorted(key for key in self.objects.objects if "/part-" in key)
        return [
            json.loads(line)
            for key in parts
            for line in self.objects.objects[key].data.splitlines()
        ]
