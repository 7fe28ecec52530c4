"""Load on detect adds replicas and pods, and rest takes them away."""

from __future__ import annotations

import time

import pytest

from tests.cluster.caller import PHOTO, Caller
from tests.cluster.cluster import Cluster, is_ready, wait

pytestmark = pytest.mark.long

_UP_S = 240
_DOWN_S = 240
# More than a replica is to have at once, and as many as are always let in.
_LOAD = f"/detect=x4@{PHOTO}"


def test_load_adds_a_pod_and_rest_takes_it_away(cluster: Cluster, release: Caller) -> None:
    begin = time.monotonic()
    with release.load(_LOAD) as outcome:
        wait("a second pod of detect", _UP_S, lambda: len(cluster.stage("detect")) == 2)
        asked = time.monotonic() - begin
        wait("a second replica", _UP_S, lambda: _ready(cluster) == 2)
        up = time.monotonic() - begin
    wait("one pod of detect", _DOWN_S, lambda: len(cluster.stage("detect")) == 1)
    down = time.monotonic() - begin - up
    print(f"a pod after {asked:.0f} s, up after {up:.0f} s, down {down:.0f} s later; {outcome}")
    assert outcome.failures == []
    assert outcome.sent > 100


def _ready(cluster: Cluster) -> int:
    """A pod is ready when it has a replica."""
    return sum(is_ready(pod) for pod in cluster.stage("detect"))
