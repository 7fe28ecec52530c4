"""CompreFace's own Python SDK, for the test that runs it against the service: two wheels.

    python -m tests.support.compreface_sdk

fetches them into ``.cache/tools``. They are no dependency: the SDK pins a version of
requests-toolbelt that today's urllib3 cannot load, so it runs from its wheel, with a newer one.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
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


class ToolError(Exception):
    """The SDK cannot be had, or is not what it should be; one sentence."""


def fetch(folder: Path) -> None:
    """Put the wheels there, unless they are there. Raises ToolError."""
    folder.mkdir(parents=True, exist_ok=True)
    for requirement, name, sha256 in WHEELS:
        if _is(folder / name, sha256):
            continue
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
            done = subprocess.run(
                [*command, "-d", scratch, requirement], capture_output=True, text=True
            )
            wheel = Path(scratch, name)
            if done.returncode or not wheel.is_file():
                last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
                raise ToolError(f"pip cannot download {requirement}: {last}")
            if not _is(wheel, sha256):
                raise ToolError(f"{name} is another file than it was.")
            wheel.replace(folder / name)


def wheels(folder: Path = FOLDER) -> Sequence[Path]:
    """The wheels, which Python can import from. Raises ToolError: they are not there."""
    found = [folder / name for _, name, sha256 in WHEELS if _is(folder / name, sha256)]
    if len(found) != len(WHEELS):
        raise ToolError("CompreFace's SDK is not there; run python -m tests.support.compreface_sdk")
    return found


def main() -> None:
    try:
        fetch(FOLDER)
    except ToolError as error:
        sys.exit(str(error))


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


if __name__ == "__main__":
    main()
