"""Upgrades with both Helms, nothing forced, and who owns the fields of the chart's objects."""

from __future__ import annotations

from typing import Any

import yaml

from tests.cluster.caller import Caller
from tests.cluster.cluster import RELEASE, Cluster, wait

# The names under which Helm writes, by version and way of writing.
HELM = {"helm"}


def test_no_other_manager_owns_a_field_of_a_spec(cluster: Cluster, release: Caller) -> None:
    foreign = [
        f"{item['kind']} {item['metadata']['name']}: {manager} owns {sorted(fields)}"
        for item in _objects(cluster)
        for manager, fields in _owners(item).items()
        if manager not in HELM
    ]
    assert foreign == []


def test_an_upgrade_with_helm_4(cluster: Cluster, release: Caller) -> None:
    _upgrade(cluster, 4, 3)


def test_an_upgrade_with_helm_3_after_it(cluster: Cluster, release: Caller) -> None:
    _upgrade(cluster, 3, 4)


def test_an_upgrade_with_helm_4_after_that(cluster: Cluster, release: Caller) -> None:
    _upgrade(cluster, 4, 2)


def _upgrade(cluster: Cluster, major: int, replicas: int) -> None:
    """A change in place; Serve gets it, and no second RayCluster is made."""
    before = cluster.clusters()
    output = cluster.upgrade(f"stages.detect.scale.max_replicas={replicas}", major=major)
    assert "STATUS: deployed" in output
    assert "conflict" not in output
    config = yaml.safe_load(cluster.get("rayservice", RELEASE)["spec"]["serveConfigV2"])
    (detect,) = [d for d in config["applications"][0]["deployments"] if d["name"] == "detect"]
    assert detect["autoscaling_config"]["max_replicas"] == replicas
    wait("the RayService", 60, lambda: cluster.ready("rayservice"))
    assert cluster.clusters() == before


def _objects(cluster: Cluster) -> list[dict[str, Any]]:
    """The objects of the release, as the cluster has them."""
    manifest = yaml.safe_load_all(cluster.helm("get", "manifest", RELEASE))
    return [
        cluster.get(_kind(item), item["metadata"]["name"], "--show-managed-fields")
        for item in manifest
        if item
    ]


def _kind(item: dict[str, Any]) -> str:
    """In full: two groups can have a kind of one name."""
    group, _, version = item["apiVersion"].rpartition("/")
    return f"{item['kind']}.{version}.{group}"


def _owners(item: dict[str, Any]) -> dict[str, set[str]]:
    """The fields that each manager owns, apart from metadata and status; subresources left out."""
    owners: dict[str, set[str]] = {}
    for entry in item["metadata"]["managedFields"]:
        if "subresource" in entry:
            continue
        fields = {name for name in entry["fieldsV1"] if name not in ("f:metadata", "f:status")}
        if fields:
            owners.setdefault(entry["manager"], set()).update(fields)
    return owners
