"""What this machine must have: root, cgroups, namespaces, kernel features, packages of Debian."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from tests.cluster.onenode.home import Home, Missing
from tests.cluster.onenode.shell import run, say

SUITE = "bookworm"
PACKAGES = (
    *("containerd", "runc", "containernetworking-plugins"),
    *("iptables", "ipset", "iproute2", "conntrack"),
    *("procps", "util-linux", "openssl", "debootstrap"),
)

_CGROUPS = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "memory", "pids")
_GIB = 2**30
_DISK = 12 * _GIB
_MEMORY = 7 * _GIB

# In a network namespace of its own: what the node, CNI, kube-proxy and kube-router set up.
_NETWORK = """
ip link add probe0 type veth peer name probe1 || { echo "virtual interfaces (veth)"; exit; }
ip link add probe2 type bridge || { echo "bridges"; exit; }
iptables -t nat -A POSTROUTING -m comment --comment probe -j MASQUERADE ||
  { echo "iptables with NAT"; exit; }
iptables -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT || { echo "conntrack"; exit; }
ipset create probe hash:ip || { echo "ipset"; exit; }
iptables -A FORWARD -m set --match-set probe src -j DROP || { echo "iptables with ipset"; exit; }
"""


def check(home: Home) -> None:
    """Raises Missing, in one sentence, for what the machine cannot be given."""
    for fault in (_system, _cgroups, _namespaces, lambda: _room(home)):
        if sentence := fault():
            raise Missing(sentence)


def check_network() -> None:
    """As `check`, with the commands that `install` brings. Raises Missing."""
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", _NETWORK], capture_output=True, text=True
    )
    if lacking := done.stdout.strip():
        raise Missing(f"The kernel gives this account no {lacking}.")


def install() -> None:
    """Install the packages of Debian that are missing."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n"]
    there = {line.split()[0] for line in run(query).splitlines() if line.split()[1:] == ["ii"]}
    missing = [package for package in PACKAGES if package not in there]
    if missing:
        say(f"apt: {' '.join(missing)}")
        run(["apt-get", "update", "-qq"])
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        options = ("-y", "-qq", "--no-install-recommends")
        run(["apt-get", "install", *options, *missing], env=quiet)


def cgroups(name: str) -> list[Path]:
    """The control groups of this name, one for each hierarchy of version 1."""
    return [path for path in (_CGROUPS / name, *_CGROUPS.glob(f"*/{name}")) if path.is_dir()]


def _system() -> str | None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return f"The cluster needs Linux on x86-64, and this is {platform.machine()}."
    if os.geteuid() != 0:
        return "The cluster needs root: it makes namespaces, mounts and control groups."
    if not shutil.which("apt-get") or f"VERSION_CODENAME={SUITE}" not in _os_release():
        return f"The cluster needs Debian {SUITE}, for the container runtime and the base image."
    return None


def _os_release() -> str:
    try:
        return Path("/etc/os-release").read_text()
    except OSError:
        return ""


def _cgroups() -> str | None:
    """Version 1 has a hierarchy for each controller, version 2 one for all."""
    if (listed := _CGROUPS / "cgroup.controllers").is_file():
        places, found = {_CGROUPS}, listed.read_text().split()
    else:
        places = {_CGROUPS / name for name in _CONTROLLERS}
        found = [name for name in _CONTROLLERS if (_CGROUPS / name).is_dir()]
    if lacking := [name for name in _CONTROLLERS if name not in found]:
        return f"{_CGROUPS} has no control groups for {', '.join(lacking)}."
    for place in places:
        probe = place / "facenet-serving-probe"
        try:
            probe.mkdir()
            probe.rmdir()
        except OSError as error:
            return f"No control group can be made in {place}: {error.strerror}."
    return None


def _namespaces() -> str | None:
    options = ["--fork", "--mount", "--pid", "--net", "--mount-proc", "--propagation", "private"]
    try:
        done = subprocess.run(
            ["unshare", *options, "sh", "-c", "mount -t tmpfs probe /mnt"],
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        return "The command unshare, of util-linux, is not there."
    if done.returncode:
        return f"Namespaces cannot be made: {done.stderr.strip()}."
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        return "The kernel has no overlay file system, in which containers get their images."
    return None


def _room(home: Home) -> str | None:
    home.folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home.folder).free
    if not home.base.is_file() and free < _DISK:
        return f"{home.folder} has {free / _GIB:.0f} GiB left, and {_DISK // _GIB} are needed."
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory < _MEMORY:
        return (
            f"The machine has {memory / _GIB:.0f} GiB of memory, and {_MEMORY // _GIB} are needed."
        )
    return None
