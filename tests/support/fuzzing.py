"""The duration of the random tests.

In `make test` they run long enough to find obvious faults, with the same inputs each time; FUZZ=40,
which `make fuzz` sets, tries forty times as many, and others in each run.
"""

from __future__ import annotations

import os

TIMES = float(os.environ.get("FUZZ", "1"))


def examples(usual: int) -> int:
    """The number for Hypothesis's ``max_examples``."""
    return max(1, round(usual * TIMES))


def seconds(usual: float) -> float:
    """The seconds for a test that generates inputs until its time is over."""
    return usual * TIMES
