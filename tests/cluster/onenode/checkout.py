"""The chart's images, from this checkout and its ``.venv``.

The ``.venv`` (7 GB) and its Python are in no layer. They are hard-linked into the base layer's
unpacked snapshot, at the same paths as on this machine: no copy, and no time. So they must be on
the file system of the cluster's folder, or they are copied.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.onenode import oci, operators
from tests.cluster.onenode.home import CHECKOUT, ClusterError, Home
from tests.cluster.onenode.images import image, install, load
from tests.cluster.onenode.namespaces import ctr, kubectl
from tests.cluster.onenode.shell import run, say
from tests.support.chart.helm import CHART, Helm

SERVING = "localhost/facenet-serving:dev"

_INITIALIZER = "storage-initializer/scripts/initializer-entrypoint"
# Pods mount volumes of their own there, so nothing of an image is seen below.
_HIDDEN = ("/tmp", "/dev", "/proc", "/sys", "/run")
# As in serving/Dockerfile.
_CALM = ("PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", "RAY_USAGE_STATS_ENABLED=0")
_SPIN = "GOMP_SPINCOUNT=3000"
# Asked of the checkout's Python, whichever runs this.
_QUESTION = """
import importlib.util, json, sys, sysconfig
storage, triton = map(importlib.util.find_spec, ("kserve_storage", "pytriton"))
print(json.dumps({"venv": sys.prefix, "prefix": sys.base_prefix,
    "version": "%d.%d" % sys.version_info[:2], "libraries": sysconfig.get_config_var("LIBDIR"),
    "triton": triton and triton.origin, "storage": bool(storage)}))
"""


@dataclass(frozen=True)
class Python:
    """The environment of the checkout; no path has links in it."""

    venv: Path
    prefix: Path
    version: str
    libraries: str
    triton: Path
    """The folder of pip's tritonserver."""

    @property
    def path(self) -> str:
        return f"{self.venv}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def config(self, *env: str, **others: Any) -> dict[str, Any]:
        """An image's configuration."""
        variables = [f"PATH={self.path}", "HOME=/tmp", *env]
        return {"Env": variables, "WorkingDir": "/", "User": "1000:1000", **others}


def make(home: Home) -> None:
    """Make all images. Raises ClusterError when the checkout is not complete."""
    python = _python(CHECKOUT / ".venv")
    if not any((CHECKOUT / "triton/models").glob("*/1/model.*")):
        raise ClusterError("No model is traced; run make model.")
    triton, minio = _names_in_use(home)
    libraries = f"{python.libraries}:{python.triton.parents[1]}/nvidia_pytriton.libs"
    below = (home.base,)
    serving = python.config(
        *_CALM, _SPIN, "PYTHONPATH=/app", Cmd=["faces", "--help"], WorkingDir="/app"
    )
    load(
        home,
        [
            image(home, SERVING, lambda folder: _serving(folder, python), serving, below),
            image(
                home,
                triton,
                lambda folder: _triton(folder, python),
                python.config(_SPIN, f"LD_LIBRARY_PATH={libraries}"),
                below,
            ),
            image(
                home,
                "localhost/storage-initializer:1",
                lambda folder: _initializer(home, folder),
                python.config(Entrypoint=[f"/{_INITIALIZER}"]),
                below,
            ),
            image(
                home,
                minio,
                lambda folder: install(home.binary("minio/minio"), folder / "usr/bin/minio"),
                python.config(Entrypoint=["/usr/bin/minio"]),
                below,
            ),
        ],
    )
    snapshot = _snapshot(home)
    for folder in {python.venv, python.prefix} - {Path("/usr")}:  # Debian's own is in the base
        _link(folder, snapshot)


def _python(venv: Path) -> Python:
    if not (venv / "bin/python").exists():
        raise ClusterError("There is no .venv; run make install.")
    facts: Mapping[str, Any] = json.loads(run([venv.resolve() / "bin/python", "-c", _QUESTION]))
    if not facts["triton"] or not facts["storage"]:
        raise ClusterError("The .venv lacks nvidia-pytriton or kserve-storage; run make install.")
    found = Python(
        venv=Path(facts["venv"]).resolve(),
        prefix=Path(facts["prefix"]).resolve(),
        version=facts["version"],
        libraries=facts["libraries"],
        triton=Path(facts["triton"]).parent / "tritonserver",
    )
    for folder in (found.venv, found.prefix):
        if any(folder.is_relative_to(hidden) for hidden in _HIDDEN):
            raise ClusterError(f"Pods have volumes of their own over {folder}; put it elsewhere.")
    return found


def _names_in_use(home: Home) -> tuple[str, str]:
    """The names of Triton's image and of MinIO's, as KServe's runtime and the chart have them."""
    rendered = Helm(4).run(
        "template", "faces", str(CHART), files=[CHECKOUT / "k8s/values-kind.yaml"]
    )
    query = ("-o", "jsonpath={.spec.containers[0].image}")
    runtime = run(kubectl(home, "get", "clusterservingruntime", "kserve-tritonserver", *query))
    version = re.search(r'runtimeVersion: "?([\w.-]+)', rendered)
    minio = re.search(r'image: "?(\S*/minio)(:[\w.-]+)(@[\w:]+)?', rendered)
    if not version or not minio:
        raise ClusterError("The chart names no version of Triton, or no image of MinIO.")
    # containerd looks for what has a digest by that alone, and takes this image's word for it.
    name, tag, digest = minio.groups()
    return f"{runtime.rpartition(':')[0]}:{version[1]}", name + (digest or tag)


def _serving(folder: Path, python: Python) -> None:
    compiled = shutil.ignore_patterns("__pycache__")
    for name in ("serving", "data", "triton/models"):
        shutil.copytree(CHECKOUT / name, folder / "app" / name, ignore=compiled)
    (folder / "opt").mkdir()
    (folder / "opt/venv").symlink_to(python.venv)


def _triton(folder: Path, python: Python) -> None:
    """Pip's tritonserver, with the project's backends in place of those that it lacks."""
    backends = folder / "opt/tritonserver/backends"
    shutil.copytree(python.triton / "backends/python", backends / "python")
    stub = "triton_python_backend_stub"
    source = python.triton / "python_backend_stubs" / python.version / stub
    install(source, backends / "python" / stub)
    models = set((CHECKOUT / "triton/backends").glob("*_model.py"))
    shared = set((CHECKOUT / "triton/backends").glob("*.py")) - models
    for model in models:
        backend = backends / model.name.removesuffix("_model.py")
        install(model, backend / "model.py")
        for file in shared:
            install(file, backend / file.name)
    (folder / "usr/local/bin").mkdir(parents=True)
    (folder / "usr/local/bin/tritonserver").symlink_to(python.triton / "bin/tritonserver")


def _initializer(home: Home, folder: Path) -> None:
    """KServe's script; its package is in the ``.venv``."""
    install(operators.sources(home) / "python" / _INITIALIZER, folder / _INITIALIZER)
    (folder / _INITIALIZER).chmod(0o755)


def _snapshot(home: Home) -> Path:
    """Where containerd has unpacked the base layer, whose chain id is the layer's own digest."""
    key = "facenet-serving-view"
    view = run(ctr(home, "snapshots", "view", "--mounts", key, oci.digest(home.base)))
    run(ctr(home, "snapshots", "rm", key))
    return Path(json.loads(view)[0]["Source"])


def _link(source: Path, snapshot: Path) -> None:
    """Hard-link a folder into a snapshot, behind the back of containerd's digests."""
    target = snapshot / source.relative_to("/")
    target.mkdir(parents=True, exist_ok=True)
    same = source.stat().st_dev == snapshot.stat().st_dev
    if not same:
        say(f"{source} is on another file system: copying it")
    run(["cp", "-alT" if same else "-aT", "--remove-destination", source, target])
    # A folder of mode 700 on the way would shut out the pods' user. The machine's keeps its mode.
    for folder in (target, *target.parents):
        if folder == snapshot:
            break
        folder.chmod(folder.stat().st_mode | (0o055 if folder == target else 0o011))
    say(f"linked {source}")
