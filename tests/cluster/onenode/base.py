"""The lowest layer of the chart's images: a small Debian, by debootstrap."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.cluster.onenode import oci
from tests.cluster.onenode.home import Home
from tests.cluster.onenode.machine import SUITE
from tests.cluster.onenode.shell import run, say

# What the chart's containers and KubeRay's probes call, what pip's tritonserver is linked with, and
# the Redis of a test.
_PACKAGES = (
    *("ca-certificates", "curl", "wget", "openssl", "procps"),
    *("python3", "libpython3.11", "libgomp1", "libgl1", "libglib2.0-0"),
    *("libb64-0d", "libre2-9", "libnuma1", "libarchive13"),
    "redis-server",
)
_WASTE = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "dev")


def build(home: Home) -> None:
    """Make the layer, unless it is there with these packages."""
    wanted, stamp = "\n".join(_PACKAGES), home.base.with_suffix(".packages")
    if home.base.is_file() and stamp.is_file() and stamp.read_text() == wanted:
        return
    say(f"base image: Debian {SUITE}")
    with tempfile.TemporaryDirectory(dir=home.folder) as folder:
        root = Path(folder) / "root"
        options = ["--variant=minbase", f"--include={','.join(_PACKAGES)}"]
        run(["debootstrap", *options, SUITE, root, *_mirrors()])
        for waste in _WASTE:
            shutil.rmtree(root / waste)
            (root / waste).mkdir()
        # As in serving/Dockerfile: a login shell sets PATH anew.
        (root / "etc/profile.d/venv.sh").write_text("PATH=/opt/venv/bin:$PATH\n")
        _append(root / "etc/group", "faces:x:1000:")
        _append(root / "etc/passwd", "faces:x:1000:1000::/tmp:/bin/bash")
        oci.layer(root, home.base)
        stamp.write_text(wanted)


def _mirrors() -> list[str]:
    """This machine's own mirror of Debian; debootstrap has a default."""
    columns = "$(REPO_URI) $(CODENAME)"
    listed = run(["apt-get", "indextargets", "--format", columns, "Created-By: Packages"])
    found = [line.split() for line in listed.splitlines()]
    return [uri for uri, codename in found if codename == SUITE][:1]


def _append(file: Path, line: str) -> None:
    with file.open("a") as entries:
        entries.write(f"{line}\n")
