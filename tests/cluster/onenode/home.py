"""Where the cluster keeps its files, and the addresses in its network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "FACES_CLUSTER_HOME"
DEFAULT = Path("~/.cache/facenet-serving/cluster")

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[2]

NODE = "node1"
NODE_IP = "10.89.0.1"
POD_RANGE = "10.88.0.0/24"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
DNS_IP = "10.96.0.10"

# Of sun_path, see unix(7); containerd adds names of its own to its socket's.
_LONGEST_SOCKET = 100


class ClusterError(Exception):
    """The cluster cannot be had; the message says in a sentence what is wrong."""


class Missing(ClusterError):
    """The machine lacks what no command of ours can bring."""


@dataclass(frozen=True)
class Home:
    """The cluster's folder. ``state`` in it goes with `down`; all else is a cache."""

    folder: Path

    @property
    def binaries(self) -> Path:
        return self.folder / "bin"

    @property
    def sources(self) -> Path:
        return self.folder / "src"

    @property
    def base(self) -> Path:
        """The lowest layer of the chart's images, a tar file."""
        return self.folder / "base.tar"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        return self.state / "log"

    @property
    def volumes(self) -> Path:
        return self.state / "volumes"

    @property
    def socket(self) -> Path:
        """Containerd's."""
        return self.state / "containerd.sock"

    @property
    def kubeconfig(self) -> Path:
        return self.pki / "admin.conf"

    def binary(self, name: str) -> Path:
        """What was built, as ``tool/command``."""
        return self.binaries / name


def from_environment() -> Home:
    """The folder that the environment names, or the default.

    Raises:
        ClusterError: the path is too long for the sockets in it.
    """
    home = Home(Path(os.environ.get(VARIABLE) or DEFAULT).expanduser().resolve())
    if len(os.fsencode(home.socket)) > _LONGEST_SOCKET:
        raise ClusterError(f"{home.folder} is too long for sockets in it; set {VARIABLE}.")
    return home
