"""Builds, starts and removes the cluster."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from tests.cluster.onenode import (
    base,
    certificates,
    checkout,
    go,
    images,
    machine,
    namespaces,
    operators,
    processes,
)
from tests.cluster.onenode.home import ClusterError, Home
from tests.cluster.onenode.shell import run, say, wait
from tests.cluster.onenode.templates import fill, write
from tests.support.chart import tools

_CONFIG = ("containerd.toml", "kubelet.yaml", "kube-proxy.yaml", "resolv.conf")
_VOLUMES = 4
# What kubelet makes outside of the namespaces: control groups know none.
_PODS = "kubepods"


def build(home: Home) -> None:
    """Build and install what is missing. Raises Missing or ClusterError."""
    machine.check(home)
    machine.install()
    machine.check_network()
    for wheel in tools.WHEELS:
        tools.fetch(wheel, tools.FOLDER)
    go.build(home)
    base.build(home)
    say("built")


def up(home: Home) -> None:
    """Start a cluster with its operators, and give it the chart's images.

    Raises:
        ClusterError: it does not start; what is there stays, so that its logs can be read.
    """
    if namespaces.holder(home):
        raise ClusterError("The cluster is up already.")
    if others := machine.cgroups(_PODS):
        raise ClusterError(f"There is another kubelet: its control group is {others[0]}.")
    _remove_state(home)
    for folder in (home.state, home.logs, home.volumes):
        folder.mkdir()
    home.state.chmod(0o700)
    certificates.make(home)
    for name in _CONFIG:
        write(home, f"config/{name}", home.state / "config" / name)
    write(home, "config/bridge.conflist", home.state / "config/cni/10-bridge.conflist")
    namespaces.enter(home)
    processes.runtime(home)
    images.programs(home)
    processes.control_plane(home)
    operators.install(home)
    _make_volumes(home)
    say("up")


def make_images(home: Home) -> None:
    checkout.make(home)


def down(home: Home) -> None:
    """Remove the cluster, and all that is not a cache."""
    if pid := namespaces.holder(home):
        os.kill(pid, signal.SIGKILL)
        wait("end of all processes", 60, lambda: not Path(f"/proc/{pid}").exists())
        for top in machine.cgroups(_PODS):
            for folder, _, _ in os.walk(top, topdown=False):
                os.rmdir(folder)
    with contextlib.suppress(FileNotFoundError):
        for place in namespaces.made_file(home).read_text().split():
            with contextlib.suppress(OSError):  # something else uses it by now
                os.rmdir(place)
    _remove_state(home)
    say("down")


def _make_volumes(home: Home) -> None:
    namespaces.apply(home, fill(home, "manifests/storage.yaml"))
    for number in range(_VOLUMES):
        folder = home.volumes / str(number)
        folder.mkdir()
        folder.chmod(0o777)  # no pod runs as root
        volume = fill(home, "manifests/volume.yaml", name=f"local-{number}", path=str(folder))
        namespaces.apply(home, volume)


def _remove_state(home: Home) -> None:
    if f" {home.state}" in Path("/proc/self/mountinfo").read_text():
        raise ClusterError(f"Something is mounted below {home.state}, which was to be removed.")
    run(["rm", "-rf", "--one-file-system", home.state])
