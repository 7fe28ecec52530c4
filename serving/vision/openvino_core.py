"""OpenVINO's core of this process."""

from __future__ import annotations

import functools
import threading

import openvino as ov

_LOCK = threading.Lock()


def core() -> ov.Core:
    """The core that all networks of vision share; it stays as long as the process.

    A core gives the thread that makes it a stack for signals, and frees that stack when it goes.
    Python's signal handlers run on it, so the next SIGTERM or Ctrl-C would be a segmentation fault.
    """
    with _LOCK:
        return _made()


@functools.cache
def _made() -> ov.Core:
    return ov.Core()
