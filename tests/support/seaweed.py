"""A real S3 server of a test's own, which may be killed and started again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from serving.settings import GallerySettings
from serving.stack import s3
from serving.stack.config import BUCKET
from serving.stack.credentials import credentials
from serving.stack.process import LOOPBACK, Process, check_ports

# Apart from those of the stack that the other service tests start.
PORT = 17003


class Seaweed:
    """The server; use it in a ``with`` of `running`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._folder = folder
        self._process: Process | None = None
        self._starts = 0

    @property
    def keys(self) -> Mapping[str, str]:
        """The environment that its clients need."""
        return credentials(self._folder)

    @property
    def settings(self) -> GallerySettings:
        return GallerySettings(bucket=BUCKET, endpoint=f"http://{LOOPBACK}:{self.port}")

    def start(self) -> None:
        """Returns at once; see `wait`."""
        assert self._process is None
        logs = self._folder / "logs" / f"{self._starts}"  # each start begins its log anew
        self._starts += 1
        self._process = s3.start(self._folder, logs, self.port)

    def wait(self) -> None:
        """Until the bucket is there and can be written to."""
        assert self._process is not None
        self._process.wait_until(lambda: s3.make_bucket(self._folder, self.port, BUCKET), 60)

    def check(self) -> None:
        """Raises StackError when it has ended by itself."""
        assert self._process is not None
        self._process.check()

    def kill(self) -> None:
        """It gets no chance to write anything any more."""
        if self._process is not None:
            kill(self._process)
            self._process = None


@contextmanager
def running(folder: Path, port: int = PORT) -> Iterator[Seaweed]:
    """A server that is up; it is gone afterwards, whatever happens."""
    check_ports(s3.ports_of(port))
    server = Seaweed(folder, port)
    try:
        server.start()
        server.wait()
        yield server
    finally:
        server.kill()


def kill(process: Process) -> None:
    """With SIGKILL, and all that it has started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.stop(5)
