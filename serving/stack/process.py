"""Child processes that end with their parent, and ports that are checked before they are used."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"
# Torch's threads wait for each other by spinning. By default they spin for so long that one more
# busy core makes an inference forty times slower. Torch reads this when it is loaded.
CALM_THREADS = {"GOMP_SPINCOUNT": "3000"}
_PR_SET_PDEATHSIG = 1  # of prctl(2)
_LAST_LINES = 20  # of a log, in which the reason of an end is looked for


# In place of python -m, which looks for modules in the folder of the caller first: the user's own
# may have a yaml.py.
_RUN = (
    "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def python(module: str) -> list[str]:
    """The command that runs a module of this package, wherever it is started."""
    return [sys.executable, "-c", _RUN, module]


class StackError(Exception):
    """The stack cannot run; the message is one sentence that says why and what to do."""


class Process:
    """One child process in a process group of its own, with its output in a log file.

    The log and all files that the child writes are readable by the user alone.

    Args:
        folder: the working directory; by default this process's own.
        hidden: variables of this process's environment whose names begin so are not handed on.
        orphaned: the signal that the child gets when this process ends without having stopped it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        hidden: tuple[str, ...] = (),
        orphaned: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._asked = False
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        libc = ctypes.CDLL(None)
        # A core dump would hold photos. With a limit of 1 byte the kernel neither writes one nor
        # pipes one to a crash handler; with 0 it still pipes, see core(5).
        no_core = 0 if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0 else 1

        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(hidden)
        }

        def end_with_parent() -> None:
            # Even a parent that is killed outright must leave nothing running.
            libc.prctl(_PR_SET_PDEATHSIG, orphaned)
            resource.setrlimit(resource.RLIMIT_CORE, (no_core, no_core))

        with open(log, "wb", opener=_private_opener) as output:
            self._child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**inherited, **(env or {})},
                cwd=folder,
                umask=0o077,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    def wait_until(self, healthy: Callable[[], bool], timeout_s: float) -> None:
        """Raises StackError when the child ends or is not healthy in time."""
        deadline = time.monotonic() + timeout_s
        while not healthy():
            self.check()
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} was not ready after {timeout_s:g} s{self._why()}")
            time.sleep(0.1)

    def check(self) -> None:
        """Raises StackError when the child has ended."""
        code = self._child.poll()
        if code is not None:
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            raise StackError(f"{self.name} ended {how}{self._why()}")

    def terminate(self) -> None:
        """Ask the child to end, and do not wait. It is asked once: some servers take a second
        signal for impatience."""
        if self._child.poll() is None and not self._asked:
            self._asked = True
            self._child.terminate()

    def stop(self, timeout_s: float) -> None:
        """Terminate the child; after ``timeout_s`` kill it, and in any case all that it started."""
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def _why(self) -> str:
        # What a server said earlier, when it started, is not why it ended.
        lines = self.log.read_text(errors="replace").strip().splitlines()[-_LAST_LINES:]
        errors = [line for line in lines if "error" in line.lower()] or lines
        last = f": {errors[-1].strip()[:300]}" if errors else ""
        return f"{last} (log: {self.log})"


def write_private(path: Path, text: str) -> None:
    """Write a file that only the user can read, from its first byte on."""
    with open(path, "w", encoding="utf-8", opener=_private_opener) as file:
        file.write(text)


def make_private(folder: Path) -> None:
    """Remove all rights of other accounts to the folder and to everything in it."""
    for path in (folder, *folder.rglob("*")):
        # A link has no rights of its own, and a listed file may be gone by now.
        with contextlib.suppress(FileNotFoundError):
            if not path.is_symlink() and path.stat().st_mode & 0o077:
                path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o700)


def _private_opener(path: str, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)  # a file that existed keeps its old mode otherwise
    return descriptor


def check_ports(ports: Mapping[str, int]) -> None:
    """Raises StackError when one of the ports, given by purpose, is taken."""
    for purpose, port in ports.items():
        with socket.socket() as probe:
            # As the servers do: a connection in TIME_WAIT does not hold the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                raise StackError(
                    f"Port {port} ({purpose}) is taken by another program; stop that, or choose "
                    "another first port with PORT=9000 make run (faces up --port 9000)."
                ) from None
