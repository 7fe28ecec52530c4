"""The HAProxy in front of Ray Serve: keeps its own pages on loopback and drains it at shutdown.

Serve would kill HAProxy before the replicas have finished, and so cut the connections of clients
that still wait for an answer.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import time
from pathlib import Path

from serving.stack.process import LOOPBACK, python

# See `serving.haproxy`. Ray starts it anywhere, so it is told where the package is.
_PROGRAM = """#!/bin/sh
PYTHONPATH={package} exec {command} --pages-on={loopback} "$@"
"""
_PID = re.compile(rb"^Pid: (\d+)$", re.MULTILINE)


def program_in(folder: Path) -> Path:
    """Where `write_program` writes its program."""
    return folder / "haproxy"


def write_program(folder: Path) -> Path:
    """Write the program that Serve starts in place of HAProxy, and that becomes HAProxy."""
    program = program_in(folder)
    program.write_text(
        _PROGRAM.format(
            package=shlex.quote(str(Path(__file__).parents[2])),
            command=shlex.join(python("serving.haproxy")),
            loopback=LOOPBACK,
        )
    )
    program.chmod(0o700)
    return program


def drain(admin_socket: Path, within: float) -> bool:
    """Make HAProxy refuse new requests, and wait until it has answered those under way.

    Args:
        admin_socket: the path in Serve's settings; Serve adds a folder of the node's own to it.
        within: seconds to wait.

    Returns:
        Whether it has answered all of them; False also when no HAProxy runs.
    """
    sockets = admin_socket.parent.glob(f"*/{admin_socket.name}")
    pids = [pid for path in sockets if (pid := _pid(path)) is not None]
    deadline = time.monotonic() + within
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR1)  # its soft stop
    while any(map(_runs, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return bool(pids)


def _pid(admin_socket: Path) -> int | None:
    """The process id of the HAProxy behind a socket; Serve starts another for each new config."""
    info = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(2)
            connection.connect(str(admin_socket))
            connection.sendall(b"show info\n")
            while part := connection.recv(65536):
                info += part
    except OSError:
        return None
    match = _PID.search(info)
    return None if match is None else int(match[1])


def _runs(pid: int) -> bool:
    """Whether the process runs; a zombie, which its parent has not reaped, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
