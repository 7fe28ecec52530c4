"""The Serve application of the one-machine stack, as a child process: a local Ray and `serve run`.

    python -m serving.stack.serve CONFIG

CONFIG is a serveConfigV2 document, as a RayService takes it.
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

from serving.haproxy import BUFFER_BYTES
from serving.stack import haproxy, tls
from serving.stack.process import CALM_THREADS, LOOPBACK, Process, StackError, python

_OBJECT_STORE_BYTES = 2**30
_SHARED_MEMORY = Path("/dev/shm")
# Photos are never written to disk: when the object store is full, a request is refused. By default
# Ray spills to files and, failing that, maps files on disk instead of memory ("fallback
# allocation") unless the disk counts as full. Ray overwrites the environment variable of the first
# setting for its children, so both are passed to `ray.init`.
MEMORY_ALONE = {"automatic_object_spilling_enabled": False, "local_fs_capacity_threshold": 0}
_DIRECT_PORTS = 100  # for the ingress replicas behind HAProxy
_ADMIN_SOCKET = "RAY_SERVE_HAPROXY_SOCKET_PATH"
# For requests that are under way when the service stops.
_DRAIN_SECONDS = 15
_HERE = f"{LOOPBACK},localhost"


def ports_of(first: int) -> dict[str, int]:
    """HTTP is at ``first``; HAProxy's own pages use the inner ports, see `start`."""
    return {"HTTP": first, "metrics": metrics_port(first)}


def metrics_port(first: int) -> int:
    """The port of the page that Prometheus reads, after the ports of Triton and S3."""
    return first + 11


def start(
    config: Path, logs: Path, scratch: Path, inner_port: int, keys: Mapping[str, str]
) -> Process:
    """Start Ray and the application on loopback.

    Args:
        scratch: a folder of this stack alone, for sockets, whose paths must be short, and for
            Ray's files; readable by the user alone, since Ray creates files open to all accounts.
        inner_port: the first of the ports that HAProxy and the ingress replicas use.
        keys: the S3 server's, as environment variables: a command line is open to every account.

    Raises:
        StackError: shared memory is too small.
    """
    # Ray would use the disk instead.
    free = shutil.disk_usage(_SHARED_MEMORY).free
    if free < _OBJECT_STORE_BYTES:
        raise StackError(
            f"{_SHARED_MEMORY} has {free / 2**20:.0f} MiB left, and photos need "
            f"{_OBJECT_STORE_BYTES / 2**20:.0f} MiB; make it larger (docker run --shm-size=2g)."
        )
    haproxy.write_program(scratch)
    return Process(
        "Ray Serve",
        [*python("serving.stack.serve"), config],
        log=logs / "serve.log",
        # A profile or a session token of the user's would go with the keys of the stack.
        hidden=("AWS_", "RAY_ADDRESS"),
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
        # As in the chart: what a client may keep silent for, and headers for `serving.haproxy`.
        "TIMEOUT_CLIENT_S": 75,
        "TUNE_BUFSIZE": BUFFER_BYTES,
    }
    settings: dict[str, Any] = {
        "RAY_USAGE_STATS_ENABLED": 0,
        "RAY_TMPDIR": scratch,
        # An object behind a reference that Ray has not seen would stay in memory for ever.
        "RAY_allow_out_of_band_object_ref_serialization": 0,
        # Makes Ray use 127.0.0.1 as the node's address, on every system.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": 0,
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": 1,
        "RAY_SERVE_ENABLE_HA_PROXY": 1,
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serving.request_id:middlewares",
        # Serve would buffer a thousand lines, and lose them in a crash.
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": 1,
        # Only the local HAProxy has to notice that a replica leaves.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": 1,
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": inner_port + 2,
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": inner_port + 3,
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": inner_port + _DIRECT_PORTS,
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": inner_port + _DIRECT_PORTS + 1,
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": inner_port + 2 * _DIRECT_PORTS,
        _ADMIN_SOCKET: scratch / "admin.sock",
        **{f"RAY_SERVE_HAPROXY_{name}": value for name, value in proxy.items()},
    }
    # A proxy of the environment must not stand between the servers of this machine.
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    direct = f"{given},{_HERE}" if given else _HERE
    return {
        **keys,
        "no_proxy": direct,
        "NO_PROXY": direct,
        **CALM_THREADS,
        **certificates,
        **{name: str(value) for name, value in settings.items()},
    }


def readiness(port: int) -> dict[str, Any] | None:
    """The body of /readyz; None while the application does not answer."""
    try:
        # Without certificates, which take longer to load than this takes to answer.
        # And by no proxy of the environment.
        url = f"http://{LOOPBACK}:{port}/readyz"
        body = httpx.get(url, timeout=5, verify=False, trust_env=False).json()
    except (httpx.TransportError, json.JSONDecodeError):
        return None
    return body if isinstance(body, dict) else None  # HAProxy answers without a replica, too


def resources(document: Mapping[str, Any]) -> dict[str, Any]:
    """The CPUs and custom resources that Ray must count for the first replicas of all deployments.

    On Kubernetes the groups of pods bring them. Here they are only bookkeeping: there may be more
    CPUs than the machine has cores.
    """
    cpus = 0.0
    custom: dict[str, float] = {}
    for application in document["applications"]:
        for replicas, options in _replicas(application):
            cpus += replicas * options.get("num_cpus", 1)
            for name, amount in options.get("resources", {}).items():
                custom[name] = custom.get(name, 0) + replicas * amount
    cores = len(os.sched_getaffinity(0))
    # Where they suffice, Ray's own count is better: it knows the limits of containers.
    return {"num_cpus": math.ceil(cpus) if cpus > cores else None, "resources": custom}


def _replicas(application: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The number of first replicas of each deployment, and the options of each replica.

    Read from ``args``, as this stack writes them, and from Serve's own list, which goes first.
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
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a second signal does not wait
        haproxy.drain(Path(os.environ[_ADMIN_SOCKET]), _DRAIN_SECONDS)
        raise KeyboardInterrupt

    document = yaml.safe_load(config.read_text())
    # Read early: a bad document should fail with its own error, not in a health check.
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
        # Serve's command stops the application on an interrupt, but a supervisor sends SIGTERM,
        # for which `ray.init` has just set its own handler.
        signal.signal(signal.SIGTERM, interrupt)
        cli.main(["run", str(config)], standalone_mode=False)
    except KeyboardInterrupt:
        pass
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
