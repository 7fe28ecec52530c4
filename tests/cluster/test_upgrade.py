"""Upgrades under load: a second RayCluster beside the first, and Triton's rolling update."""

from __future__ import annotations

import time

import pytest

from tests.cluster.caller import PHOTO, Caller
from tests.cluster.cluster import Cluster, names, wait

pytestmark = pytest.mark.long

_PATIENCE_S = 420
# What a node of two cores can answer while it starts as many pods again.
_LOAD = ("/identities=4", f"/infer=0.5@{PHOTO}")
_TRITON = "serving.kserve.io/inferenceservice=faces"


def test_a_second_cluster_takes_over(cluster: Cluster, release: Caller) -> None:
    (before,) = cluster.clusters()
    begin = time.monotonic()
    with release.load(*_LOAD) as outcome:
        cluster.upgrade("ray.extraEnv[0].name=FACES_TESTS", "ray.extraEnv[0].value=upgraded")
        wait("the first cluster's end", _PATIENCE_S, lambda: _taken_over(cluster, before))
    print(f"taken over after {time.monotonic() - begin:.0f} s")
    assert outcome.failures == []
    assert outcome.sent > 100
    # The load may have added a pod.
    wait("one pod for each stage", _PATIENCE_S, cluster.at_rest)


def test_triton_is_replaced(cluster: Cluster, release: Caller) -> None:
    before = names(cluster.pods(_TRITON))
    with release.load(*_LOAD) as outcome:
        cluster.upgrade(
            "ray.extraEnv[0].name=FACES_TESTS",
            "ray.extraEnv[0].value=upgraded",
            "triton.pod.annotations.tests=replaced",
        )
        wait("other pods of Triton", _PATIENCE_S, lambda: cluster.replaced(_TRITON, before))
    assert outcome.failures == []
    assert outcome.sent > 20


def _taken_over(cluster: Cluster, before: str) -> bool:
    there = cluster.clusters()
    return len(there) == 1 and there != [before] and cluster.ready("rayservice")
