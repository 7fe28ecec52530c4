"""CompreFace's own SDKs, for the tests that run them against the service.

    python -m tests.support.compreface_sdk

fetches them into ``.cache/tools``: two wheels for Python and, where there is npm, packages for
Node. They are no dependencies: the Python SDK pins a version of requests-toolbelt that today's
urllib3 cannot load, so it runs from its wheel, with a newer one.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "tools"
# What pip downloads, the file's name, and its sha256.
WHEELS = (
    (
        "compreface-sdk==0.6.0",
        "compreface_sdk-0.6.0-py2.py3-none-any.whl",
        "b9b155b80ba043e2349656e31ee02ffe1775caa0a45bd1cffc68367b206f4205",
    ),
    (
        "requests-toolbelt==1.0.0",
        "requests_toolbelt-1.0.0-py2.py3-none-any.whl",
        "cccfdd665f0a24fcf4726e690f65639d272bb0637b9b92dfd91a5568ccf6bd06",
    ),
)
# What npm packs, the file's name, and its sha256.
PACKAGES = (
    (
        "@exadel/compreface-js-sdk@1.0.0",
        "exadel-compreface-js-sdk-1.0.0.tgz",
        "6e799dfce96e22eeacbcc6f1c6672d7edc813dabdb343b710e2bfd6abdabf7b0",
    ),
    (
        "axios@0.21.4",
        "axios-0.21.4.tgz",
        "6e9ada87e002e4bc9ec8db04e77a66af2c6f24262a43e5127b4a646de001b75a",
    ),
    (
        "follow-redirects@1.15.9",
        "follow-redirects-1.15.9.tgz",
        "08cb8b4221833178e11d57852c5656f28530962ef30bb41ed053305e68ac8b8f",
    ),
    (
        "form-data@4.0.0",
        "form-data-4.0.0.tgz",
        "c951c71b54ebcd58d737da62a1daece72fb930a00647208b6e4ab251ab56d81a",
    ),
    (
        "asynckit@0.4.0",
        "asynckit-0.4.0.tgz",
        "8c254f30f70792645042e4d71f590ec49f8e386a475772f7430c73b964b57dcf",
    ),
    (
        "combined-stream@1.0.8",
        "combined-stream-1.0.8.tgz",
        "b6be5aabe53e90635beb77cd0e0ba7ae6a25c8cf903b15fcc342353e732e1512",
    ),
    (
        "delayed-stream@1.0.0",
        "delayed-stream-1.0.0.tgz",
        "ac38fce4217dfb1d772427c7d8d0d073e35ecd832915e97a61d9ab5c504129d3",
    ),
    (
        "mime-types@2.1.35",
        "mime-types-2.1.35.tgz",
        "49734fc98906e9baaacf8034923470a4c84de72943a7c005face63360701d1c3",
    ),
    (
        "mime-db@1.52.0",
        "mime-db-1.52.0.tgz",
        "b8e70bb4d52acd5d0d1ed848c0e6e3c903a533aa500acffbe003f011b18f9e3b",
    ),
)
_NODE = "compreface-js"


class ToolError(Exception):
    """An SDK cannot be had, or is not what it should be; one sentence."""


def fetch(folder: Path) -> None:
    """Put the wheels there, and the packages if there is npm, unless they are there.

    Raises:
        ToolError: one cannot be downloaded, or is another file than it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", "."]
    for requirement, name, sha256 in WHEELS:
        _download([*pip, requirement], folder / name, sha256)
    if npm := shutil.which("npm"):
        for package, name, sha256 in PACKAGES:
            _download([npm, "pack", "--silent", package], folder / _NODE / name, sha256)


def wheels(folder: Path = FOLDER) -> Sequence[Path]:
    """The wheels, which Python can import from. Raises ToolError: they are not there."""
    return _there([(folder / name, sha256) for _, name, sha256 in WHEELS])


def unpack(into: Path, folder: Path = FOLDER) -> str:
    """Make a ``node_modules`` of the packages; returns the program node.

    Raises:
        ToolError: there is no node, or the packages are not there.
    """
    node = shutil.which("node")
    if node is None:
        raise ToolError("there is no node on this machine")
    tarballs = _there([(folder / _NODE / name, sha256) for _, name, sha256 in PACKAGES])
    for (package, _, _), tarball in zip(PACKAGES, tarballs, strict=True):
        place = into / "node_modules" / package.rpartition("@")[0]
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into) as scratch, tarfile.open(tarball) as tar:
            tar.extractall(scratch, filter="data")
            (only,) = Path(scratch).iterdir()  # most are called package
            only.replace(place)
    return node


def main() -> None:
    try:
        fetch(FOLDER)
    except ToolError as error:
        sys.exit(str(error))


def _download(command: Sequence[str], file: Path, sha256: str) -> None:
    if _is(file, sha256):
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True)
        made = Path(scratch, file.name)
        if done.returncode or not made.is_file():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ToolError(f"{command[-1]} cannot be downloaded: {last}")
        if not _is(made, sha256):
            raise ToolError(f"{file.name} is another file than it was.")
        made.replace(file)


def _there(files: Sequence[tuple[Path, str]]) -> Sequence[Path]:
    if not all(_is(file, sha256) for file, sha256 in files):
        raise ToolError("CompreFace's SDK is not there; run python -m tests.support.compreface_sdk")
    return [file for file, _ in files]


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


if __name__ == "__main__":
    main()
