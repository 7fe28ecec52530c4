"""The process that holds the cluster's namespaces, and how commands get into them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.onenode.home import ClusterError, Home
from tests.cluster.onenode.shell import Word, run, wait
from tests.cluster.onenode.templates import OVER, write
from tests.support.chart.tools import FOLDER


def holder(home: Home) -> int | None:
    """The process's number; None when there is none, or the number is another's by now."""
    try:
        pid = int(_pid_file(home).read_text())
        return pid if Path(f"/proc/{pid}/exe").samefile(home.binary("pause/pause")) else None
    except (OSError, ValueError):
        return None


def inside(home: Home, *command: Word) -> list[Word]:
    """The command in all of the cluster's namespaces; it ends with the cluster."""
    return ["nsenter", "--target", str(_running(home)), "--all", "--", *command]


def networked(home: Home, *command: Word) -> list[Word]:
    """The command in the cluster's network, with this machine's files and processes."""
    return ["nsenter", "--target", str(_running(home)), "--net", "--", *command]


def enter(home: Home) -> None:
    """Start the holder. Raises ClusterError when the namespaces cannot be made."""
    made = [place for place in OVER if not os.path.exists(place)]
    made_file(home).write_text("\n".join(made))
    for place in made:
        os.makedirs(place)
    script = write(home, "config/enter.sh", home.state / "config/enter.sh")
    options = ["--fork", "--mount", "--pid", "--net", "--mount-proc", "--propagation", "private"]
    log = home.logs / "enter.log"
    with log.open("w") as stream:
        parent = subprocess.Popen(
            ["unshare", *options, "sh", script],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    entered = home.state / "entered"
    wait("namespaces", 20, lambda: entered.exists() or parent.poll() is not None)
    if parent.poll() is not None:
        raise ClusterError(f"The namespaces could not be made: {log.read_text().strip()}")
    _pid_file(home).write_text(run(["pgrep", "--parent", str(parent.pid)]))
    wait("their first process", 10, lambda: holder(home) is not None)


def made_file(home: Home) -> Path:
    """Lists the folders that `enter` made on this machine, to mount over."""
    return home.state / "made"


def kubectl(home: Home, *words: Word) -> list[Word]:
    return networked(home, FOLDER / "kubectl", f"--kubeconfig={home.kubeconfig}", *words)


def ctr(home: Home, *words: Word) -> list[Word]:
    return inside(home, "ctr", "--address", home.socket, "--namespace", "k8s.io", *words)


def apply(home: Home, manifest: str) -> None:
    """`kubectl apply` by the server: the CRDs are too long for the client's annotation."""
    words: Sequence[Word] = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    run(kubectl(home, *words), input=manifest)


def _pid_file(home: Home) -> Path:
    return home.state / "holder.pid"


def _running(home: Home) -> int:
    if pid := holder(home):
        return pid
    raise ClusterError("The cluster is not up; run make cluster-up.")
