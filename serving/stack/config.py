"""The settings of the one-machine stack and its serveConfigV2 document."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.model.repository import REPOSITORY
from serving.settings import DEFAULT_MODEL, ScaleSettings
from serving.stack import triton
from serving.stack.process import LOOPBACK

BUCKET = "faces"
CONFIG = "serve.yaml"
SERVE_LOGS = Path("logs", "serve")


@dataclass(frozen=True)
class StackSettings:
    """Where the stack lives.

    Attributes:
        folder: data, keys, logs, sockets and generated configuration; readable by the user alone.
        port: of HTTP; Triton and S3 use the ports after it.
        model: a folder of the model repository.
        repository: Triton's model repository.
        overrides: arguments of the application (`serving.settings.AppArgs`) that replace those
            of this machine.
        document: a serveConfigV2 document to start instead of this machine's own; its addresses
            must be those of this stack.
    """

    folder: Path = Path(".run")
    port: int = 8000
    model: str = DEFAULT_MODEL
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
        # Below the ephemeral ports, which the system may give to any program.
        return self.port + 10_000 if self.port < 22_000 else self.port - 10_000

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


def serve_config(settings: StackSettings) -> dict[str, Any]:
    """The serveConfigV2 document with this machine's values; see `serving.settings.AppArgs`."""
    if settings.document is not None:
        return dict(settings.document)
    # One replica of each stage: more of them would share the same cores. For the same reason each
    # claims a tenth of a core, which is only Ray's bookkeeping.
    scale = {
        "min_replicas": 1,
        "max_replicas": 1,
        "num_cpus": 0.1,
        "graceful_shutdown_timeout_s": 5,
    }
    args = {
        "triton": {
            "url": triton.url_of(settings.folder),
            "model": settings.model,
        },
        "gallery": {"bucket": BUCKET, "endpoint": f"http://{LOOPBACK}:{settings.s3_port}"},
        "detect": {"threads": cores()},
        # On loopback and without keys, only a foreign page in a local browser could intrude.
        "hosts": ["localhost"],
        "scale": {stage: dict(scale) for stage in ScaleSettings.model_fields},
    }
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": LOOPBACK, "port": settings.port},
        "logging_config": {
            "encoding": "JSON",
            "log_level": "INFO",
            # The ingress logs one line per request (`serving.api.middleware.access`); Serve would
            # add four.
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


def liveness_model(settings: StackSettings) -> str | None:
    """The model that the stack's own Triton serves beside the embedding model; None: there is none,
    or it is served elsewhere."""
    (application,) = serve_config(settings)["applications"]
    liveness = application["args"].get("liveness", {})
    return None if liveness.get("url") else liveness.get("model")


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {k: _merged(below[k], above[k]) for k in below if isinstance(above.get(k), Mapping)}
    return {**below, **above, **both}


def cores() -> int:
    return len(os.sched_getaffinity(0))
