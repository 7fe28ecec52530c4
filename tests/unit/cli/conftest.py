"""`faces`, run as a shell would run it, and a service on loopback for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from serving.cli import root
from tests.support.service import FakeService, fake_service
from tests.unit.cli.shell import Ended, Faces


@pytest.fixture
def faces(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Faces:
    """Runs the command as a shell would."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["faces", *map(str, arguments)])
        code: object = 0
        try:
            root.main()
        except SystemExit as ended:
            code = ended.code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ended(code if isinstance(code, int) else 0, out, err)

    return run


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    with fake_service() as running:
        monkeypatch.setenv("FACES_URL", running.url)
        yield running


@pytest.fixture
def no_s3_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
