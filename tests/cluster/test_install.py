"""A first installation, into a namespace that enforces Pod Security's level restricted."""

from __future__ import annotations

from tests.cluster.caller import Caller
from tests.cluster.cluster import STAGES, Cluster
from tests.cluster.conftest import Installation

_LONGEST_S = 300


def test_helm_install_waits_until_it_is_ready(
    cluster: Cluster, installation: Installation, release: Caller
) -> None:
    print(f"helm install --wait: {installation.seconds:.0f} s")
    assert installation.seconds < _LONGEST_S
    assert "STATUS: deployed" in installation.output
    assert "arning" not in installation.output


def test_pod_security_refuses_no_pod(cluster: Cluster, release: Caller) -> None:
    events = [event["message"] for event in cluster.select("events")]
    assert [message for message in events if "violates PodSecurity" in message] == []


def test_there_is_a_pod_for_each_stage(cluster: Cluster, release: Caller) -> None:
    assert {stage: len(cluster.stage(stage)) for stage in (*STAGES, "head")} == dict.fromkeys(
        (*STAGES, "head"), 1
    )


def test_helm_test(cluster: Cluster, release: Caller) -> None:
    output = cluster.helm("test", "faces", "--logs", "--timeout", "3m")
    assert "Phase:          Succeeded" in output or "Succeeded" in output
