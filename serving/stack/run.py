"""The one-machine stack: a real S3 server, a real tritonserver and Ray Serve on loopback.

Starts all three, waits until each is healthy, and stops all of them even after an error. The
gallery stays in the stack's folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from serving.stack import s3, serve, triton
from serving.stack.config import (
    BUCKET,
    CONFIG,
    SERVE_LOGS,
    StackSettings,
    cores,
    liveness_model,
    serve_config,
)
from serving.stack.credentials import credentials
from serving.stack.process import (
    LOOPBACK,
    Process,
    StackError,
    check_ports,
    make_private,
    write_private,
)

# The first file of each start, so what shows that a folder is the stack's.
_LOCK = "lock"
# Categories of Unicode that configuration files cannot hold.
_NO_TEXT = frozenset({"Cc", "Cs", "Zl", "Zp"})


@contextlib.contextmanager
def running(
    settings: StackSettings, say: Callable[[str], None] = lambda line: None
) -> Iterator[list[Process]]:
    """Run the stack inside the ``with`` block; yields its processes.

    Args:
        say: called with one line for each step that is done.

    Raises:
        StackError: it cannot run; nothing is left running.
    """
    folder = settings.folder.resolve()
    take(folder)
    logs = folder / "logs"
    with contextlib.ExitStack() as stack:
        stack.enter_context(_lock(folder))
        check_ports(
            serve.ports_of(settings.port)
            | triton.ports_of(settings.triton_port)
            | s3.ports_of(settings.s3_port)
        )
        # Serve keeps one log file for each replica that ever ran; they would pile up.
        shutil.rmtree(folder / SERVE_LOGS, ignore_errors=True)
        config = folder / CONFIG
        write_private(config, yaml.safe_dump(serve_config(settings), sort_keys=False))

        # All at once: each spends most of its start waiting.
        triton_server = triton.start(
            folder,
            logs,
            settings.triton_port,
            settings.repository,
            settings.model,
            cores(),
            liveness_model(settings),
        )
        stack.callback(triton_server.stop, 10)
        s3_server = s3.start(folder, logs, settings.s3_port)
        # A clean stop takes 15 s. No process writes any more, so it can be killed earlier.
        stack.callback(s3_server.stop, 2)
        stack.callback(triton_server.terminate)  # it takes 3 s
        keys = credentials(folder)
        scratch = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="faces-", ignore_cleanup_errors=True)
        )
        application = serve.start(config, logs, Path(scratch), settings.inner_port, keys)
        stack.callback(application.stop, 30)

        s3_server.wait_until(lambda: s3.make_bucket(folder, settings.s3_port, BUCKET), 60)
        say(f"S3 server ready at http://{LOOPBACK}:{settings.s3_port}")
        triton_server.wait_until(lambda: triton.is_ready(folder, settings.model), 120)
        say(f"Triton ready at {triton.url_of(folder)}: {settings.model} READY")
        last: dict[str, Any] | None = None

        def ready() -> bool:
            nonlocal last
            last = serve.readiness(settings.port)
            return last is not None and last.get("ready") is True

        try:
            application.wait_until(ready, 120)
        except StackError as error:
            checks = (last or {}).get("checks")
            raise StackError(f"{error} {checks}" if checks else str(error)) from None
        say(f"Ray Serve ready at {settings.url}")
        yield [s3_server, triton_server, application]


def take(folder: Path) -> None:
    """Make the stack's folder, or close one of an earlier start: it holds embeddings and names.

    Raises:
        StackError: it cannot be used, or holds things that are not the stack's and that others may
            have to read.
    """
    if any(unicodedata.category(character) in _NO_TEXT for character in str(folder)):
        raise StackError(
            f"The folder {str(folder)!r} has control characters in its path, or bytes that are no "
            "UTF-8. Choose another one with faces up --folder FOLDER."
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / _LOCK).exists() and any(folder.iterdir()):
            raise StackError(
                f"The folder {folder} holds other things, and faces up closes its folder to all "
                "other accounts. Choose a new or an empty one with faces up --folder FOLDER."
            )
        make_private(folder)  # an older version may have left it open
    except OSError as error:
        raise StackError(
            f"The folder {folder} cannot be used: {error.strerror}. Choose one that you may write "
            "to with faces up --folder FOLDER."
        ) from None


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One stack per folder: two S3 servers on the same files would destroy them."""
    path = folder / _LOCK
    write_private(path, "")
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StackError(f"A stack is running in {folder} already; stop it first.") from None
        yield
