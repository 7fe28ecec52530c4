"""A soft stop, of a process that stands in for HAProxy."""

from __future__ import annotations

import os
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.stack.haproxy import drain, write_program

_PROXY = """
import signal, sys, time
stopping = []
signal.signal(signal.SIGUSR1, lambda *_: stopping.append(True))
print("up", flush=True)
while not stopping:
    time.sleep(0.01)
time.sleep(float(sys.argv[1]))
"""


@contextmanager
def proxy(folder: Path, requests_s: float) -> Iterator[tuple[Path, int]]:
    """Its admin socket and its pid; it has requests that take so many seconds."""
    path = folder / "node" / "admin.sock"
    path.parent.mkdir()
    command = [sys.executable, "-c", _PROXY, str(requests_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()

        class Admin(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                assert self.rfile.readline() == b"show info\n"
                self.wfile.write(f"Name: HAProxy\nPid: {process.pid}\nPidfile: 1\n\n".encode())

        with socketserver.ThreadingUnixStreamServer(str(path), Admin) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield folder / "admin.sock", process.pid
            finally:
                server.shutdown()
                thread.join()
                process.kill()


def test_it_is_waited_for(tmp_path: Path) -> None:
    with proxy(tmp_path, 0.3) as (path, pid):
        start = time.monotonic()
        assert drain(path, 30)
        assert time.monotonic() - start > 0.3
        assert os.waitpid(pid, os.WNOHANG)[0] == pid


def test_but_not_for_ever(tmp_path: Path) -> None:
    with proxy(tmp_path, 60) as (path, _):
        assert not drain(path, 0.2)


@pytest.mark.parametrize("there", [True, False])
def test_where_there_is_none_nobody_waits(tmp_path: Path, there: bool) -> None:
    path = tmp_path / "node" / "admin.sock"
    path.parent.mkdir()
    if there:
        path.touch()
    assert not drain(tmp_path / "admin.sock", 60)


def test_its_pages_are_on_loopback_and_the_rest_stays_as_serve_wrote_it(tmp_path: Path) -> None:
    program, config = write_program(tmp_path), tmp_path / "haproxy.cfg"
    assert program.stat().st_mode & 0o777 == 0o700
    # The lines of Serve's template that open a port.
    config.write_text(
        "defaults\n    mode http\n    timeout client 5s\n"
        "frontend prometheus\n    bind :18000\n    mode http\n    timeout client 5s\n"
        "frontend http\n    bind 127.0.0.1:8000\n    mode http\n    timeout client 5s\n"
        "listen stats\n  bind *:18001\n  mode http\n  timeout client 5s\n"
        "  timeout connect 5s\n  timeout server 5s\n"
    )
    # -c: HAProxy itself reads it, and ends.
    subprocess.run([program, "-c", "-q", "-f", config], check=True)
    bound = [line.split()[1] for line in config.read_text().splitlines() if "bind" in line]
    assert bound == ["127.0.0.1:18000", "127.0.0.1:8000", "127.0.0.1:18001"]
