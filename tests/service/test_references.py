"""Calls that carry references, between two deployments of a real Ray of its own, set as the stack's
is: none may be pickled behind its back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_allow_out_of_band_object_ref_serialization": "0",
}


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    source = str(Path(__file__).resolve().parents[2])
    run = subprocess.run(
        [sys.executable, "-m", "tests.service.references"],
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": source},
        cwd=source,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    told: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return told


def test_small_and_large_values_arrive(seen: dict[str, Any]) -> None:
    assert seen["answers"] == [1, 3]
    assert seen["read"] == 3


def test_only_an_answer_that_nobody_knew_to_be_large_is_made_twice(seen: dict[str, Any]) -> None:
    assert seen["made"] == [1, 3, 3]


def test_what_waits_for_the_next_stage_is_there_when_it_looks(seen: dict[str, Any]) -> None:
    """Of a hundred. A reference inside of an answer is lost about once among them."""
    assert seen["lost"] == []


def test_a_reference_that_a_call_hides_is_an_error(seen: dict[str, Any]) -> None:
    assert seen["hidden"] == "OufOfBandObjectRefSerializationException"


def test_who_gives_up_ends_the_work(seen: dict[str, Any]) -> None:
    assert (seen["late"], seen["given up"]) == ("TimeoutError", 1)


def test_a_store_that_is_full_says_so_wherever_it_is_needed(seen: dict[str, Any]) -> None:
    assert seen["full"] == dict.fromkeys(("argument", "fetched", "left"), "NoRoom")
    assert seen["afterwards"] == 40
