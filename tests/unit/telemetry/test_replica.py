"""The logs of a replica: under Serve's logger, and without tracebacks of what is no bug."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from logging.handlers import MemoryHandler
from pathlib import Path

import pytest
from ray import serve
from ray.serve._private.common import ServeComponentType
from ray.serve._private.logging_utils import configure_component_logger
from ray.serve.schema import LoggingConfig

from serving.api import audit
from serving.errors import ServingError, Unavailable, UnsupportedImage
from serving.settings import TracingSettings
from serving.telemetry import replica

OURS, SERVES, OTEL, AUDIT = (
    logging.getLogger(n) for n in ("serving", "ray.serve", "opentelemetry", "faces")
)


class Written(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    """What Serve writes in a replica whose start this is."""
    before = OURS.parent, OTEL.parent, SERVES.filters[:], SERVES.handlers[:], SERVES.level
    monkeypatch.setattr(serve, "get_replica_context", lambda: None)
    written = Written()
    SERVES.handlers[:] = [written]
    replica.start("decode", TracingSettings())
    yield written
    OURS.parent = AUDIT.parent = before[0]
    OTEL.parent, SERVES.filters[:], SERVES.handlers[:] = before[1:4]
    SERVES.setLevel(before[4])


def test_our_lines_are_serves_with_its_level(log: Written) -> None:
    SERVES.setLevel(logging.INFO)
    logging.getLogger("serving.stages.match").info("seen")
    logging.getLogger("serving.stages.match").debug("not seen")
    SERVES.setLevel(logging.ERROR)  # as when the configuration changes
    logging.getLogger("serving.stages.match").info("not seen")
    assert [(r.name, r.getMessage()) for r in log.records] == [("serving.stages.match", "seen")]


def test_lines_of_the_audit_are_written_at_every_level(log: Written) -> None:
    SERVES.setLevel(logging.CRITICAL)
    audit.log.info("delete 7")
    assert [(r.name, r.getMessage()) for r in log.records] == [("faces.audit", "delete 7")]


def logged(log: Written, error: Exception) -> logging.LogRecord:
    """As Serve logs what a stage raises."""
    try:
        raise error
    except Exception:
        SERVES.exception("Request failed.")
    return log.records[-1]


@pytest.mark.parametrize(
    ("error", "level", "message"),
    [
        (UnsupportedImage("It is damaged."), "INFO", "unsupported-image: It is damaged."),
        (Unavailable("The store is away."), "WARNING", "unavailable: The store is away."),
    ],
)
def test_what_is_no_bug_is_a_sentence(
    log: Written, error: ServingError, level: str, message: str
) -> None:
    record = logged(log, error)
    assert (record.levelname, record.getMessage()) == (level, message)
    assert record.levelno == getattr(logging, level)
    assert record.exc_info is None


def test_a_bug_keeps_its_traceback(log: Written) -> None:
    record = logged(log, ZeroDivisionError())
    assert (record.levelname, record.getMessage()) == ("ERROR", "Request failed.")
    assert record.exc_info is not None


def test_outside_of_a_replica_loggers_stay_as_they_are() -> None:
    replica.start("decode", TracingSettings())
    assert OURS.parent is logging.getLogger()


@pytest.mark.parametrize("encoding", ["JSON", "TEXT"])
def test_standard_error_gets_what_the_file_gets(
    log: Written, tmp_path: Path, capsys: pytest.CaptureFixture[str], encoding: str
) -> None:
    config = LoggingConfig(
        encoding=encoding,
        logs_dir=str(tmp_path),
        enable_access_log=False,
        additional_log_standard_attrs=["name"],
    )
    configure_component_logger(
        component_name="faces_decode",
        component_id="x1",
        component_type=ServeComponentType.REPLICA,
        logging_config=config,
        max_bytes=10**6,
        backup_count=1,
    )
    replica.start("decode", TracingSettings())
    logging.getLogger("serving.stages.match").warning("seen", extra={"faces": 3})
    SERVES.info("CALL decode OK", extra={"serve_access_log": True})
    (buffer,) = (h for h in SERVES.handlers if isinstance(h, MemoryHandler))
    assert buffer.target is not None
    buffer.target.close()
    (file,) = tmp_path.iterdir()
    (line,) = file.read_text().splitlines()
    assert capsys.readouterr().err == f"{line}\n"
    assert "seen" in line
    if encoding == "JSON":
        told = json.loads(line)
        assert (told["name"], told["faces"], told["replica"]) == ("serving.stages.match", 3, "x1")
