"""axe-core for the tests of the page: the accessibility checks, out of a wheel that holds them.

    python -m tests.console.tools

fetches it into ``.cache/tools``. Chromium itself is Debian's.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

AXE = Path(__file__).resolve().parents[2] / ".cache" / "tools" / "axe.min.js"
_WHEEL = "axe-playwright-python==0.1.8"
_MEMBER = "axe_playwright_python/axe.min.js"  # axe-core 4.12.1
_SHA256 = "84494fec757e4710dc751c8d7a636e457f4532f08f85c86dc9070133fbff53bc"


class ToolError(Exception):
    """A tool cannot be had, or is not what it should be; one sentence."""


def chromium() -> str:
    """The browser. Raises ToolError."""
    return _found("chromium", "chromium-browser", "google-chrome")


def chromedriver() -> str:
    """Its driver. Raises ToolError."""
    return _found("chromedriver")


def fetch(axe: Path) -> None:
    """Put axe-core there, unless it is there. Raises ToolError."""
    if axe.is_file() and _sha256(axe) == _SHA256:
        return
    axe.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=axe.parent) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", scratch]
        done = subprocess.run([*command, _WHEEL], capture_output=True, text=True)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise ToolError(f"pip cannot download {_WHEEL}, which holds axe-core: {last}")
        with zipfile.ZipFile(wheels[0]) as archive:
            found = Path(archive.extract(_MEMBER, scratch))
        if _sha256(found) != _SHA256:
            raise ToolError(f"{_MEMBER} of {_WHEEL} has sha256 {_sha256(found)}, not {_SHA256}.")
        found.replace(axe)


def main() -> None:
    try:
        fetch(AXE)
    except ToolError as error:
        sys.exit(str(error))


def _found(*names: str) -> str:
    for name in names:
        if path := shutil.which(name):
            return path
    raise ToolError(
        f"The tests of the page need {names[0]}, and there is none; on Debian: "
        "apt-get install chromium chromium-driver"
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
