"""How long the random tests look for an input that breaks something.

In `make test` as long as it takes to find what is broken outright; FUZZ=40, which `make fuzz` sets,
is for forty times as many inputs.
"""

from __future__ import annotations

import os

TIMES = float(os.environ.get("FUZZ", "1"))


def examples(usual: int) -> int:
    """For Hypothesis's ``max_examples``."""
    return max(1, round(usual * TIMES))


def seconds(usual: float) -> float:
    """For a test that makes up inputs until its time is over."""
    return usual * TIMES
