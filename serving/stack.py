"""The one-machine stack: a real S3 server, a real tritonserver and Ray Serve on loopback.

Starts all three, waits until each is healthy, and stops all of them, whatever happens. What was
enrolled stays in the stack's folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from serving.local import s3, serve, triton
from serving.local.process import LOOPBACK, Process, StackError, check_ports
from serving.settings import AppArgs, ScaleSettings

REPOSITORY = Path(__file__).resolve().parent.parent / "triton" / "models"
BUCKET = "faces"
CONFIG = "serve.yaml"
SERVE_LOGS = Path("logs", "serve")


@dataclass(frozen=True)
class StackSettings:
    """Where the stack lives.

    Attributes:
        folder: data, keys, logs and generated configuration.
        port: of HTTP; the ones after it are Triton's and S3's.
        model: a folder of the model repository.
        repository: Triton's model repository.
        overrides: arguments of the application (`serving.settings.AppArgs`) to lay over those
            of this machine.
        document: a serveConfigV2 document to start in place of this machine's own; its addresses
            have to be those of this stack.
    """

    folder: Path = Path(".run")
    port: int = 8000
    model: str = "facenet-casia-webface"
    repository: Path = REPOSITORY
    overrides: Mapping[str, Any] = field(default_factory=dict)
    document: Mapping[str, Any] | None = None

    @property
    def triton_port(self) -> int:
        return self.port + 1

    @property
    def s3_port(self) -> int:
        return self.port + 3

    @property
    def inner_port(self) -> int:
        # Below the ports that the system gives to whoever asks for any.
        return self.port + 10_000 if self.port < 22_000 else self.port - 10_000

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


def serve_config(settings: StackSettings) -> dict[str, Any]:
    """The serveConfigV2 document with this machine's values; see `serving.settings.AppArgs`."""
    if settings.document is not None:
        return dict(settings.document)
    # One replica of each stage: on one machine more of them would share the same cores. For the
    # same reason a share of a core each, which is only Ray's bookkeeping.
    scale = {
        "min_replicas": 1,
        "max_replicas": 1,
        "num_cpus": 0.1,
        "graceful_shutdown_timeout_s": 5,
    }
    args = {
        "triton": {
            "url": f"http://{LOOPBACK}:{settings.triton_port}",
            "model": settings.model,
        },
        "gallery": {"bucket": BUCKET, "endpoint": f"http://{LOOPBACK}:{settings.s3_port}"},
        "detect": {"threads": _cores()},
        # On loopback, without keys, a page of others in a browser here is all that might ask.
        "hosts": ["localhost"],
        "scale": {stage: dict(scale) for stage in ScaleSettings.model_fields},
    }
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": LOOPBACK, "port": settings.port},
        "logging_config": {
            "encoding": "JSON",
            "log_level": "INFO",
            # The ingress writes a line a request, see `serving.access`; Serve's would be four.
            "enable_access_log": False,
            "additional_log_standard_attrs": ["name"],
            "logs_dir": str(settings.folder.resolve() / SERVE_LOGS),
        },
        "applications": [
            {
                "name": "faces",
                "route_prefix": "/",
                "import_path": "serving.app:build",
                "args": _merged(args, settings.overrides),
            }
        ],
    }


def read_overrides(path: Path) -> dict[str, Any]:
    """Raises StackError when the file is no YAML of the application's settings."""
    try:
        overrides = yaml.safe_load(path.read_text()) or {}
        AppArgs.model_validate(overrides)
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise StackError(f"{path} holds no settings of the application: {error}") from None
    return dict(overrides)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {k: _merged(below[k], above[k]) for k in below if isinstance(above.get(k), Mapping)}
    return {**below, **above, **both}


@contextlib.contextmanager
def running(
    settings: StackSettings, say: Callable[[str], None] = lambda line: None
) -> Iterator[list[Process]]:
    """Run the stack inside of the ``with``; yields its processes.

    Args:
        say: is told what has happened, a line each.

    Raises:
        StackError: it cannot run; nothing is left running.
    """
    folder = settings.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    logs = folder / "logs"
    with contextlib.ExitStack() as stack:
        stack.enter_context(_lock(folder))
        check_ports(
            serve.ports_of(settings.port)
            | triton.ports_of(settings.triton_port)
            | s3.ports_of(settings.s3_port)
        )
        # A file for each replica that ever was would pile up.
        shutil.rmtree(folder / SERVE_LOGS, ignore_errors=True)
        config = folder / CONFIG
        config.write_text(yaml.safe_dump(serve_config(settings), sort_keys=False))

        # All at once: each spends most of its start waiting for something of its own.
        triton_server = triton.start(
            folder, logs, settings.triton_port, settings.repository, settings.model, _cores()
        )
        stack.callback(triton_server.stop, 10)
        s3_server = s3.start(folder, logs, settings.s3_port)
        # Its own way of stopping takes 15 s. Nobody writes any more, so it may be cut short.
        stack.callback(s3_server.stop, 2)
        keys = s3.credentials(folder)
        scratch = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="faces-", ignore_cleanup_errors=True)
        )
        application = serve.start(config, logs, Path(scratch), settings.inner_port, keys)
        stack.callback(application.stop, 30)

        s3_server.wait_until(lambda: s3.make_bucket(folder, settings.s3_port, BUCKET), 60)
        say(f"S3 server ready at http://{LOOPBACK}:{settings.s3_port}")
        triton_server.wait_until(lambda: triton.is_ready(settings.triton_port, settings.model), 120)
        say(f"Triton ready at http://{LOOPBACK}:{settings.triton_port}: {settings.model} READY")
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


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One stack a folder: two S3 servers on the same files would destroy them."""
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StackError(f"A stack is running in {folder} already; stop it first.") from None
        yield


def _cores() -> int:
    return len(os.sched_getaffinity(0))
