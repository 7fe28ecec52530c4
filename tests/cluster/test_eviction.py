"""Evictions and an operator's restart under load: no request fails, and no pod is left over."""

from __future__ import annotations

import json

import pytest

from tests.cluster.caller import PHOTO, Caller
from tests.cluster.cluster import NAMESPACE, STAGES, Cluster, Object, names, wait

pytestmark = pytest.mark.long

_PATIENCE_S = 240
_DETECT = 1  # of the groups, in the order of their names
_OPERATORS = "kuberay-system"
_VERSION = "ray.io/kuberay-version"
_LOAD = ("/identities=4", f"/infer=1@{PHOTO}")


@pytest.mark.parametrize("stage", STAGES)
def test_the_only_pod_of_a_stage_is_evicted(cluster: Cluster, release: Caller, stage: str) -> None:
    (before,) = cluster.stage(stage)
    selector = f"app.kubernetes.io/component={stage}"
    with release.load(*_LOAD) as outcome:
        _evict(cluster, before["metadata"]["name"])
        wait(
            f"another {stage}",
            _PATIENCE_S,
            lambda: cluster.replaced(selector, names([before]), any),
        )
    assert outcome.failures == []
    assert outcome.sent > 50


def test_no_pod_is_left_over(cluster: Cluster, release: Caller) -> None:
    wait("one pod for each stage", _PATIENCE_S, cluster.at_rest)


def test_an_operator_of_another_version_takes_over(cluster: Cluster, release: Caller) -> None:
    """KubeRay writes a cluster that another version made anew: patches go, and its pods go on."""
    (name,) = cluster.clusters()
    written = cluster.get("rayservice", cluster.release)["spec"]["rayClusterConfig"]
    most = _most(written)
    patch = {
        "op": "replace",
        "path": f"/spec/workerGroupSpecs/{_DETECT}/maxReplicas",
        "value": most + 3,
    }
    cluster.kubectl("patch", "raycluster", name, "--type", "json", "-p", json.dumps([patch]))
    before = names(cluster.pods("ray.io/is-ray-node=yes"))
    mark = f"{_VERSION}=v1.0.0"
    with release.load(*_LOAD) as outcome:
        cluster.kubectl("annotate", "raycluster", name, "--overwrite", mark)
        operator = "deployment/kuberay-operator"
        cluster.kubectl("rollout", "restart", operator, namespace=_OPERATORS)
        status = ("rollout", "status", operator, "--timeout=120s")
        cluster.kubectl(*status, namespace=_OPERATORS)
        wait("the new version's mark", 120, lambda: _version(cluster, name) != "v1.0.0")
    assert outcome.failures == []
    assert names(cluster.pods("ray.io/is-ray-node=yes")) == before
    assert _most(cluster.get("raycluster", name)["spec"]) == most


def _most(raycluster: Object) -> int:
    """Pods of detect."""
    group = raycluster["workerGroupSpecs"][_DETECT]
    assert group["groupName"] == "detect"
    most: int = group["maxReplicas"]
    return most


def _version(cluster: Cluster, name: str) -> str | None:
    annotations = cluster.get("raycluster", name)["metadata"].get("annotations", {})
    version: str | None = annotations.get(_VERSION)
    return version


def _evict(cluster: Cluster, name: str) -> None:
    """As `kubectl drain` does it: budgets and stop hooks hold."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": NAMESPACE},
    }
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
    cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
