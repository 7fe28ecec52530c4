"""Images of the operators, of one program each; and how images get into containerd."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.cluster.onenode import oci
from tests.cluster.onenode.home import ClusterError, Home
from tests.cluster.onenode.namespaces import ctr
from tests.cluster.onenode.shell import say

# Name of the image -> what was built, where it lies in the image, its user.
_PROGRAMS = {
    "pause": ("pause/pause", "pause", 65535),
    "coredns": ("coredns/coredns", "coredns", 0),
    "kuberay-operator": ("kuberay/ray-operator", "manager", 65532),
    "kserve-controller": ("kserve/manager", "manager", 65532),
    "skipper": ("skipper/skipper", "skipper", 65532),
    "metrics-server": ("metrics-server/metrics-server", "metrics-server", 1000),
}


def programs(home: Home) -> None:
    """The images that the cluster itself needs."""
    load(home, [_program(home, name, *parts) for name, parts in _PROGRAMS.items()])


def image(
    home: Home,
    name: str,
    fill: Callable[[Path], None],
    config: dict[str, Any],
    below: tuple[Path, ...] = (),
) -> oci.Image:
    """An image of the layers ``below`` and one of its own, whose folder ``fill`` fills."""
    with tempfile.TemporaryDirectory(dir=home.state) as folder:
        Path(folder).chmod(0o755)
        fill(Path(folder))
        own = oci.layer(Path(folder), home.state / (re.sub(r"\W+", "-", name) + ".tar"))
    return oci.Image(name, (*below, own), config)


def load(home: Home, images: Iterable[oci.Image]) -> None:
    """Give images to containerd, and remove their own layers. Raises ClusterError."""
    images = list(images)
    command = [str(word) for word in ctr(home, "images", "import", "-")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as importer:
        assert importer.stdin is not None
        assert importer.stderr is not None
        oci.write(importer.stdin, images)
        importer.stdin.close()
        problem = importer.stderr.read().decode()
    if importer.returncode:
        raise ClusterError(f"containerd took no images: {problem.strip()}")
    for each in images:
        each.layers[-1].unlink()
    say(f"images: {', '.join(each.name for each in images)}")


def install(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _program(home: Home, name: str, built: str, inside: str, user: int) -> oci.Image:
    config = {"Entrypoint": [f"/{inside}"], "Env": ["PATH=/"], "WorkingDir": "/", "User": str(user)}
    return image(
        home,
        f"localhost/{name}:1",
        lambda folder: install(home.binary(built), folder / inside),
        config,
    )
