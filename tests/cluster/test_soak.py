"""A thousand photos: no pod grows with them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.cluster.caller import PHOTO, Caller
from tests.cluster.cluster import STAGES, Cluster

pytestmark = pytest.mark.long

_WARM, _PHOTOS = 300, 1000
_LOAD = f"/infer=x2@{PHOTO}"
_LOAD_S, _REST_S = 30, 15
_MOST_GROWTH = 48 * 2**20
_PROGRAM = (Path(__file__).parent / "pods/memory.py").read_text()


def test_no_pod_grows(cluster: Cluster, release: Caller) -> None:
    _send(release, _WARM)
    before = _memory(cluster)
    _send(release, _PHOTOS)
    after = _memory(cluster)
    grown = {role: after[role] - before[role] for role in before}
    print({role: f"{after[role] >> 20} MiB, {grown[role] / 2**20:+.0f}" for role in after})
    assert {role: more for role, more in grown.items() if more > _MOST_GROWTH} == {}


def _send(caller: Caller, photos: int) -> None:
    sent = 0
    while sent < photos:
        with caller.load(_LOAD) as outcome:
            time.sleep(_LOAD_S)
        assert outcome.failures == []
        sent += outcome.sent
    time.sleep(_REST_S)


def _memory(cluster: Cluster) -> dict[str, int]:
    """Of the main container of each pod, by role, in bytes."""
    where = {stage: (cluster.stage(stage), "ray-worker") for stage in STAGES}
    where["head"] = (cluster.stage("head"), "ray-head")
    where["triton"] = (
        cluster.pods("serving.kserve.io/inferenceservice=faces"),
        "kserve-container",
    )
    return {
        role: sum(_of(cluster, pod["metadata"]["name"], container) for pod in pods)
        for role, (pods, container) in where.items()
    }


def _of(cluster: Cluster, pod: str, container: str) -> int:
    return int(cluster.kubectl("exec", pod, "-c", container, "--", "python3", "-c", _PROGRAM))
