"""What a replica does at its start so that its logs and traces go where Serve's do."""

from __future__ import annotations

import logging

from ray import serve
from ray.serve.exceptions import RayServeException

from serving import tracing
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
    theirs, ours = logging.getLogger("ray.serve"), logging.getLogger("serving")
    # Under Serve's logger ours have its level, format and file, and the request's id.
    ours.parent = theirs
    ours.setLevel(logging.NOTSET)
    theirs.addFilter(_EXPECTED)
    # What an unreachable collector is worth: a line, among the others.
    logging.getLogger("opentelemetry").parent = theirs
    tracing.start(stage, settings)
