"""Describes the machine that a benchmark ran on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

CORES = len(os.sched_getaffinity(0))


def machine(*packages: str) -> str:
    """One line: processor, cores, memory, system, and the versions of these packages."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{p} {version(p)}" for p in packages)
    return f"{cpu}, {CORES} cores, {memory:.0f} GiB, Python {platform.python_version()}, {versions}"
