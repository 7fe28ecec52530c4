"""The start of a replica: its logs and traces go where Serve's do, and what it has loaded is left
out of garbage collection."""

from __future__ import annotations

import logging
import socket
from logging.handlers import MemoryHandler

from ray import serve
from ray.serve.exceptions import RayServeException

from serving import garbage, tracing
from serving.errors import ServingError
from serving.settings import TracingSettings


class _Expected(logging.Filter):
    """Shortens expected errors in Serve's log, which has a traceback for whatever a stage raises. A
    file that is not a photo, or a store that is away, is not a bug: its sentence is enough."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ServingError):
            record.levelno = logging.WARNING if error.status >= 500 else logging.INFO
            record.levelname = logging.getLevelName(record.levelno)
            record.msg, record.args = "%s: %s", (error.type, error)
            record.exc_info = record.exc_text = None
        return True


_EXPECTED = _Expected()


def start(stage: str, settings: TracingSettings) -> None:
    """Set up logs and traces; for a stage's constructor. Does nothing outside a replica."""
    try:
        serve.get_replica_context()
    except RayServeException:
        return
    theirs = logging.getLogger("ray.serve")
    # Below Serve's logger ours get its level, format and file, and the request's id.
    for ours in (logging.getLogger("serving"), logging.getLogger("faces")):
        ours.parent = theirs
        ours.setLevel(logging.NOTSET)
    theirs.addFilter(_EXPECTED)
    _same_format(theirs)
    # Warnings of an unreachable collector become lines among the others.
    logging.getLogger("opentelemetry").parent = theirs
    tracing.start(stage, settings)
    garbage.begin()


def name() -> str:
    """The replica's name, which its log lines have; the host's outside a replica."""
    try:
        return str(serve.get_replica_context().replica_id.unique_id)
    except RayServeException:
        return socket.gethostname()


def _same_format(logger: logging.Logger) -> None:
    """Format standard error as the log file: Serve writes text there, whatever the encoding."""
    files = [h for h in logger.handlers if isinstance(h, MemoryHandler) and h.target is not None]
    for handler in logger.handlers:
        if type(handler) is logging.StreamHandler and files and files[0].target is not None:
            handler.setFormatter(files[0].target.formatter)
            for wanted in files[0].filters:
                handler.addFilter(wanted)
