"""What the alerts about the cluster itself read: metrics and labels that there are."""

from __future__ import annotations

import re

import pytest

from tests.support.chart.helm import Helm
from tests.support.chart.objects import pods
from tests.support.chart.values import VARIANTS
from tests.support.promql import Selector, alerts, read

# Ray's raylet counts objects in these states, as its exporter shows them.
STATES = {"Pinned", "PendingRestore", "PendingSpill", "Restored", "Spilled"}


def selectors(alert: str) -> list[Selector]:
    (rule,) = (rule for rule in alerts() if rule["alert"] == alert)
    return read(str(rule["expr"])).selectors


def test_photos_that_are_kept_are_seen_wherever_they_lie() -> None:
    """On the disk, beside a full store, and in the memory."""
    found = {
        (selector.metric, selector.matchers.get("State", ("=", ""))[1])
        for selector in selectors("FacesPhotosKept")
    }
    assert found == {
        ("ray_spill_manager_objects", "Spilled"),
        ("ray_object_store_fallback_memory", ""),
        ("ray_spill_manager_objects", "Pinned"),
    }
    assert {state for _, state in found if state} <= STATES


def test_the_autoscaler_is_looked_for_where_it_is(helm4: Helm) -> None:
    (selector,) = selectors("FacesAutoscalerGone")
    assert selector.metric == "kube_pod_container_status_terminated"
    (head,) = (
        pod for pod in pods(helm4.template(files=[VARIANTS["defaults"]])) if pod.role == "head"
    )
    operator, name = selector.matchers["container"]
    assert operator == "="
    assert name in {container["name"] for container in head.containers}
    # KubeRay names pods <cluster>-<group>-…; Prometheus' expressions are anchored.
    operator, pattern = selector.matchers["pod"]
    assert operator == "=~"
    assert re.fullmatch(pattern, f"{head.labels['ray.io/cluster']}-head-xyz12")
    assert not re.fullmatch(pattern, f"{head.labels['ray.io/cluster']}-detect-worker-xyz12")


def test_a_blocked_loop_is_that_of_any_replica() -> None:
    """The gauge holds the most of some seconds; a mean over replicas would hide the one."""
    (rule,) = (rule for rule in alerts() if rule["alert"] == "FacesLoopBlocked")
    (selector,) = selectors("FacesLoopBlocked")
    assert (selector.metric, selector.matchers) == ("ray_faces_loop_lag_seconds", {})
    assert str(rule["expr"]).startswith("max by (namespace)")


def test_the_maintenance_is_looked_for_under_its_name(helm4: Helm) -> None:
    (job,) = (o for o in helm4.template(files=[VARIANTS["defaults"]]) if o["kind"] == "CronJob")
    name = job["metadata"]["name"]
    found = {s.metric: s.matchers for s in selectors("FacesMaintenanceFailing")}
    assert found.keys() == {
        "kube_job_status_failed",
        "kube_job_created",
        "kube_cronjob_status_last_successful_time",
        "kube_cronjob_spec_suspend",
    }
    for metric, matchers in found.items():
        label, named = ("cronjob", name) if "cronjob" in metric else ("job_name", f"{name}-2938")
        operator, pattern = matchers[label]
        assert operator == "=~"
        assert re.fullmatch(pattern, named)


@pytest.mark.parametrize(
    "alert",
    [
        "FacesAutoscalerGone",
        "FacesKeysProblem",
        "FacesLoopBlocked",
        "FacesMaintenanceFailing",
        "FacesPhotosKept",
    ],
)
def test_they_are_of_each_namespace(alert: str) -> None:
    (rule,) = (rule for rule in alerts() if rule["alert"] == alert)
    assert "namespace" in read(str(rule["expr"])).grouped
