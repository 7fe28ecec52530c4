"""Runs `faces gallery …` on a bucket in memory."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from serving.cli import cli
from serving.cli.services import Services
from serving.errors import ServingError
from serving.gallery import Gallery
from serving.gallery.location import Location
from serving.stack.config import StackSettings, serve_config
from tests.support.memory_store import MemoryStore
from tests.support.operations import OneBucket
from tests.support.people import DIMENSION, MODEL

OTHER = "facenet-other@ffffffffffff"


class Faces:
    """Runs `faces gallery …`, or another ``group``, with a configuration; ``bucket`` notes how it
    was opened."""

    def __init__(self, folder: Path, store: MemoryStore, **services: Any) -> None:
        self.group = "gallery"
        self.folder = folder
        self.bucket = OneBucket(store)
        self._services = Services(connect=self.bucket, **services)
        self._config = folder / "serve.yaml"
        self.configure()

    def configure(self, **overrides: Any) -> None:
        """Write the configuration, as the one-machine stack does."""
        settings = StackSettings(model="facenet-test", overrides=overrides)
        self._config.write_text(yaml.safe_dump(serve_config(settings)))

    def with_services(self, **services: Any) -> None:
        """Replace what the commands use besides the bucket."""
        self._services = dataclasses.replace(self._services, **services)

    def __call__(self, *words: object, code: int = 0, typed: str = "") -> str:
        done = self.run(*words, typed=typed)
        assert done.exit_code == code, done.output
        return done.output

    def fails(self, *words: object) -> str:
        """The sentence of an error that `faces` shows as one."""
        error = self.run(*words).exception
        assert isinstance(error, ServingError)
        return str(error)

    def run(self, *words: object, typed: str = "") -> Result:
        command = [self.group, *map(str, words), "--config", str(self._config)]
        runner = CliRunner(env={"COLUMNS": "120"})
        return runner.invoke(cli, command, input=typed, obj=self._services)


def gallery(store: MemoryStore, model: str = MODEL, collection: str = "default") -> Gallery:
    return Gallery(store, "galleries", Location(collection, model, DIMENSION))


def people(store: MemoryStore, collection: str = "default") -> dict[int, Any]:
    snapshot = gallery(store, collection=collection).refresh()
    return {p.id: p for p in snapshot.list(99)}
