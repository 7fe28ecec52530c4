"""What a replica does at its start: its logs and traces go where Serve's do, and what it has loaded
is no garbage."""

from __future__ import annotations

import logging
from logging.handlers import MemoryHandler

from ray import serve
from ray.serve.exceptions import RayServeException

from serving import garbage, tracing
from serving.errors import ServingError
from serving.settings import TracingSettings


class _Expected(logging.Filter):
    """Serve logs whatever a stage raises as an error with its traceback. A photo that is none, or
    a store that is away, are no bugs: their sentence is enough."""

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
    """Called by a stage's constructor; outside of a replica it does nothing."""
    try:
        serve.get_replica_context()
    except RayServeException:
        return
    theirs = logging.getLogger("ray.serve")
    # Under Serve's logger ours have its level, format and file, and the request's id.
    for ours in (logging.getLogger("serving"), logging.getLogger("faces")):
        ours.parent = theirs
        ours.setLevel(logging.NOTSET)
    theirs.addFilter(_EXPECTED)
    _same_format(theirs)
    # What an unreachable collector is worth: a line, among the others.
    logging.getLogger("opentelemetry").parent = theirs
    tracing.start(stage, settings)
    garbage.begin()


def _same_format(logger: logging.Logger) -> None:
    """Give standard error what the file gets: Serve writes text to it, whatever its encoding is."""
    files = [h for h in logger.handlers if isinstance(h, MemoryHandler) and h.target is not None]
    for handler in logger.handlers:
        if type(handler) is logging.StreamHandler and files and files[0].target is not None:
            handler.setFormatter(files[0].target.formatter)
            for wanted in files[0].filters:
                handler.addFilter(wanted)
