"""`faces model …`: what it asks of its words, and what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from serving.cli import cli
from serving.cli.services import Services
from serving.model.repository import MODEL, ModelError
from tests.support.memory_store import MemoryStore
from tests.support.model_repository import NAME, traced
from tests.support.operations import OneBucket
from tests.support.stages import CARD as FAKE

URI = f"s3://models/prod/{NAME}"


class Faces:
    """Runs `faces model …`; ``bucket`` notes how it was opened."""

    def __init__(self, store: MemoryStore, repository: Path) -> None:
        self.store = store
        self.bucket = OneBucket(store)
        self._repository = repository

    def __call__(self, *words: str, env: dict[str, str] | None = None) -> Result:
        command = ["model", *words, "--repository", str(self._repository)]
        return CliRunner(env=env).invoke(cli, command, obj=Services(connect=self.bucket))


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faces:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    return Faces(MemoryStore(), traced(tmp_path))


def test_a_card_is_shown(faces: Faces) -> None:
    shown: dict[str, Any] = json.loads(faces("show", NAME).stdout)
    assert shown["id"] == FAKE.id


def test_a_model_is_published_once(faces: Faces) -> None:
    dry = faces("publish", NAME, URI, "--dry-run")
    assert f"would be published to {URI}/" in dry.stdout
    assert not faces.store.objects
    first = faces("publish", NAME, URI)
    assert first.exit_code == 0
    assert f"Upload prod/{NAME}/{NAME}/{MODEL}\n" in first.stdout
    assert f"{FAKE.id} (0 MB) is published to {URI}/" in first.stdout
    assert len(faces.store.objects) == 3
    again = faces("publish", NAME, URI, "--replace")
    assert again.stdout == f"{FAKE.id} is at {URI}/ already; nothing to do.\n"


def test_where_the_server_is(faces: Faces) -> None:
    faces("publish", NAME, URI)
    assert faces.bucket.needs.startswith("publishing")
    assert (faces.bucket.settings.bucket, faces.bucket.settings.endpoint) == ("models", None)
    env = {"AWS_ENDPOINT_URL": "http://s3:9000", "AWS_DEFAULT_REGION": "eu-west-1"}
    faces("publish", NAME, URI, env=env)
    assert (faces.bucket.settings.endpoint, faces.bucket.settings.region) == (
        "http://s3:9000",
        "eu-west-1",
    )
    faces("publish", NAME, URI, "--endpoint", "https://a", "--region", "x", env=env)
    assert (faces.bucket.settings.endpoint, faces.bucket.settings.region) == ("https://a", "x")


@pytest.mark.parametrize(
    "words",
    [
        ("publish", NAME),
        ("publish", NAME, "models/x"),
        ("publish", NAME, "s3://models/prod"),
        ("publish", NAME, URI, "--endpoint", "s3:9000"),
    ],
)
def test_wrong_usage(faces: Faces, words: tuple[str, ...]) -> None:
    assert faces(*words).exit_code == 2


def test_a_model_that_is_not_there(faces: Faces) -> None:
    assert isinstance(faces("show", "nobody").exception, ModelError)
    assert isinstance(faces("publish", "nobody", "s3://models/nobody").exception, ModelError)
