"""The files of ``config`` and ``manifests``, with the cluster's paths and addresses filled in."""

from __future__ import annotations

import string
from pathlib import Path

from tests.cluster.onenode import home
from tests.cluster.onenode.home import HERE, Home

# Where containerd, CNI and kubelet write in any case: mounted over, from the state folder.
OVER = (
    "/run/netns",
    "/run/containerd",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/pods",
    "/var/log/containers",
)


def fill(place: Home, file: str, **values: str) -> str:
    """The text of a file of this package. Raises KeyError for a name that nothing fills."""
    known = {
        "state": place.state,
        "pki": place.pki,
        "socket": place.socket,
        "pause": place.binary("pause/pause"),
        "over": " ".join(OVER),
        "node": home.NODE,
        "node_ip": home.NODE_IP,
        "dns_ip": home.DNS_IP,
        "pod_range": home.POD_RANGE,
        "service_range": home.SERVICE_RANGE,
    }
    return string.Template((HERE / file).read_text()).substitute(known, **values)


def write(place: Home, file: str, target: Path, **values: str) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(fill(place, file, **values))
    return target
