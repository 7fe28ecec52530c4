"""The Serve application of the one-machine stack, as a child process: a local Ray and `serve run`.

    python -m serving.stack.serve CONFIG

CONFIG is a serveConfigV2 document, the same that a RayService takes.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import yaml

from serving.stack import haproxy, tls
from serving.stack.process import CALM_THREADS, LOOPBACK, Process, StackError

_OBJECT_STORE_BYTES = 2**30
_SHARED_MEMORY = Path("/dev/shm")
# Photos are never written to the disk: when the store is full, a request is refused. Ray would
# spill to files and, past that or without it, map files of the disk in place of memory ("fallback
# allocation") unless the disk counts as full. Ray itself sets the first of these for its children,
# so in the environment it has no effect.
MEMORY_ALONE = {"automatic_object_spilling_enabled": False, "local_fs_capacity_threshold": 0}
_DIRECT_PORTS = 100  # for the ingress replicas behind HAProxy
_ADMIN_SOCKET = "RAY_SERVE_HAPROXY_SOCKET_PATH"
# For the requests that are under way when the service is stopped.
_DRAIN_SECONDS = 15


def ports_of(first: int) -> dict[str, int]:
    """HTTP is at ``first``; HAProxy's own pages follow elsewhere, see `start`."""
    return {"HTTP": first, "metrics": metrics_port(first)}


def metrics_port(first: int) -> int:
    """Of the page that Prometheus reads, past the ports of Triton and S3."""
    return first + 11


def start(
    config: Path, logs: Path, scratch: Path, inner_port: int, keys: Mapping[str, str]
) -> Process:
    """Start Ray and the application on loopback.

    Args:
        scratch: a folder of this stack alone for sockets, whose paths have to be short, and for
            Ray's own files; readable by the user alone, since what Ray makes is open to all.
        inner_port: the first of the ports that HAProxy and the ingress replicas use.
        keys: the S3 server's, as environment variables: a command line is open to every account.

    Raises:
        StackError: shared memory is too small.
    """
    # Ray would take the disk in its place.
    free = shutil.disk_usage(_SHARED_MEMORY).free
    if free < _OBJECT_STORE_BYTES:
        raise StackError(
            f"{_SHARED_MEMORY} has {free / 2**20:.0f} MiB left, and photos need "
            f"{_OBJECT_STORE_BYTES / 2**20:.0f} MiB; make it larger (docker run --shm-size=2g)."
        )
    haproxy.on_loopback(scratch)
    return Process(
        "Ray Serve",
        [sys.executable, "-m", "serving.stack.serve", config],
        log=logs / "serve.log",
        env=environment(scratch, inner_port, keys, tls.environment(config.parent)),
    )


def environment(
    scratch: Path, inner_port: int, keys: Mapping[str, str], certificates: Mapping[str, str]
) -> dict[str, str]:
    """The environment variables of Ray Serve's process.

    Args:
        scratch, inner_port, keys: as `start` takes them.
        certificates: Ray's settings of TLS and of its token, see `serving.stack.tls`.
    """
    proxy = {
        "BINARY_PATH": haproxy.program_in(scratch),
        "CONFIG_FILE_LOC": scratch / "haproxy.cfg",
        "SERVER_STATE_BASE": scratch,
        "SERVER_STATE_FILE": scratch / "server-state",
        "METRICS_SOCKET_PATH": scratch / "metrics.sock",
        "METRICS_PORT": inner_port,
        "STATS_PORT": inner_port + 1,
    }
    settings: dict[str, Any] = {
        "RAY_USAGE_STATS_ENABLED": 0,
        "RAY_TMPDIR": scratch,
        # What a reference that Ray has not seen refers to would stay in memory for ever.
        "RAY_allow_out_of_band_object_ref_serialization": 0,
        # By this, on every system, Ray takes 127.0.0.1 for the node's address.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": 0,
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": 1,
        "RAY_SERVE_ENABLE_HA_PROXY": 1,
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serving.request_id:middlewares",
        # Serve would keep a thousand lines before it writes them, and lose them in a crash.
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": 1,
        # Nobody but the local HAProxy has to learn that a replica goes.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": 1,
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": inner_port + 2,
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": inner_port + 3,
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": inner_port + _DIRECT_PORTS,
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": inner_port + _DIRECT_PORTS + 1,
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": inner_port + 2 * _DIRECT_PORTS,
        _ADMIN_SOCKET: scratch / "admin.sock",
        **{f"RAY_SERVE_HAPROXY_{name}": value for name, value in proxy.items()},
    }
    return {
        **keys,
        **CALM_THREADS,
        **certificates,
        **{name: str(value) for name, value in settings.items()},
    }


def readiness(port: int) -> dict[str, Any] | None:
    """The body of /readyz, or None while nobody answers."""
    try:
        body = httpx.get(f"http://{LOOPBACK}:{port}/readyz", timeout=5).json()
    except (httpx.TransportError, json.JSONDecodeError):
        return None
    return body if isinstance(body, dict) else None  # HAProxy alone answers, too


def resources(document: Mapping[str, Any]) -> dict[str, Any]:
    """What Ray has to count on, so that each deployment has room for the replicas it begins with.

    On Kubernetes groups of pods bring it. Here it is bookkeeping alone: the cores may be more than
    the machine has.
    """
    cpus = 0.0
    custom: dict[str, float] = {}
    for application in document["applications"]:
        for replicas, options in _replicas(application):
            cpus += replicas * options.get("num_cpus", 1)
            for name, much in options.get("resources", {}).items():
                custom[name] = custom.get(name, 0) + replicas * much
    cores = len(os.sched_getaffinity(0))
    # When there is enough, Ray's own count is better: it knows the limits of containers.
    return {"num_cpus": math.ceil(cpus) if cpus > cores else None, "resources": custom}


def _replicas(application: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The replicas that each deployment begins with, and what each of them takes.

    In ``args`` as this stack writes them, or in Serve's own list, which goes before it.
    """
    options = dict(application.get("args", {}).get("scale", {}))
    for deployment in application.get("deployments", []):
        options[deployment["name"]] = {
            **deployment.get("autoscaling_config", {}),
            **deployment.get("ray_actor_options", {}),
        }
    for each in options.values():
        yield each.get("min_replicas", 1), each


def main(config: Path) -> None:
    import ray
    from ray.serve.scripts import cli

    def interrupt(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a second one does not wait
        haproxy.drain(Path(os.environ[_ADMIN_SOCKET]), _DRAIN_SECONDS)
        raise KeyboardInterrupt

    document = yaml.safe_load(config.read_text())
    # Before the ports: a bad document should fail by its sentence, not by a health check.
    names = [application["name"] for application in document["applications"]]
    print(f"starting {', '.join(names)}", flush=True)
    try:
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            **resources(document),
            _system_config=MEMORY_ALONE,
            _metrics_export_port=metrics_port(document["http_options"]["port"]),
        )
        # Serve's command stops the application on an interrupt; a supervisor sends SIGTERM, and
        # Ray has just taken that for itself.
        signal.signal(signal.SIGTERM, interrupt)
        cli.main(["run", str(config)], standalone_mode=False)
    except KeyboardInterrupt:
        pass
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
