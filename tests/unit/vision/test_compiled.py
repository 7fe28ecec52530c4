"""What numba compiles is there for the next process, and is compiled again where it cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import caching

from serving.vision.compiled import compiled

SCRIPT = """
import numpy as np
from serving.vision.mtcnn import area_sums, suppression
from serving.vision.mtcnn.detector import FaceDetector

FaceDetector(threads=1).detect(np.zeros((128, 128, 3), np.uint8))
loops = [area_sums._add_up, area_sums._average, suppression._kept]
print(*(sum(loop.stats.cache_misses.values()) for loop in loops))
"""


def compilations(cache: Path) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(number) for number in done.stdout.split()]


def test_a_second_detector_compiles_nothing(tmp_path: Path) -> None:
    assert all(compilations(tmp_path))
    assert compilations(tmp_path) == [0, 0, 0]


def test_where_nothing_can_be_written_a_loop_is_compiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])

    @compiled()
    def twice(number: int) -> int:
        return 2 * number

    assert twice(4) == 8
