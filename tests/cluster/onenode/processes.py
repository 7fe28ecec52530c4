"""Starts the processes of ``config/processes.yaml`` in the cluster's namespaces."""

from __future__ import annotations

import yaml

from tests.cluster.onenode.home import NODE, Home
from tests.cluster.onenode.namespaces import ctr, inside, kubectl
from tests.cluster.onenode.shell import run, succeeds, wait
from tests.cluster.onenode.templates import fill

# Its own log for each; the shell ends, and the process is the holder's child.
_DETACHED = 'exec > "$0" 2>&1 < /dev/null; setsid "$@" &'


def runtime(home: Home) -> None:
    _start(home, "containerd")
    wait("containerd", 30, lambda: succeeds(ctr(home, "version")))


def control_plane(home: Home) -> None:
    """Start all else. Raises ClusterError when the API or the node is not ready in time."""
    _start(home, "etcd")
    _start(home, "apiserver")
    wait("API server", 120, lambda: succeeds(kubectl(home, "get", "--raw", "/readyz")))
    for name in ("controller-manager", "scheduler", "proxy", "kubelet"):
        _start(home, name)
    ready = kubectl(home, "wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=1s")
    wait(f"node {NODE}", 120, lambda: succeeds(ready))
    _start(home, "policies")
    rules = inside(home, "iptables-save", "-t", "filter")
    wait("rules of NetworkPolicies", 60, lambda: "KUBE-ROUTER-FORWARD" in run(rules))


def _start(home: Home, name: str) -> None:
    program, *options = yaml.safe_load(fill(home, "config/processes.yaml"))[name]
    path = home.binary(program) if "/" in program else program
    run(inside(home, "sh", "-c", _DETACHED, home.logs / f"{name}.log", path, *options))
