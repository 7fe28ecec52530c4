"""What a rule looks at."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.chart.helm import Object
from tests.support.chart.objects import Pod, of_kind, pods

CLUSTER_SCOPED = frozenset({"ClusterRole", "ClusterRoleBinding", "Namespace", "PriorityClass"})


@dataclass(frozen=True)
class Rendering:
    """The objects of one release.

    Attributes:
        namespace: of the release.
        named: objects that the user brings, by name.
    """

    objects: tuple[Object, ...]
    namespace: str
    named: frozenset[str]

    @functools.cached_property
    def pods(self) -> list[Pod]:
        return pods(self.objects)

    def of_kind(self, *kinds: str) -> list[Object]:
        return of_kind(self.objects, *kinds)

    def has(self, kind: str, name: str) -> bool:
        if kind == "Secret" and any(
            item["spec"]["secretName"] == name for item in self.of_kind("Certificate")
        ):
            return True  # cert-manager makes it
        return any(item["metadata"]["name"] == name for item in self.of_kind(kind))

    def services(self) -> dict[str, dict[str, int]]:
        """Ports by name of every Service, with those that KubeRay and KServe make."""
        made = {
            item["metadata"]["name"]: {
                str(port.get("name", port["port"])): port["port"]
                for port in item["spec"].get("ports", [])
            }
            for item in self.of_kind("Service")
        }
        for item in self.of_kind("RayService"):
            name = item["metadata"]["name"]
            head = next(p for p in self.pods if p.owner == f"RayService/{name}")
            # Otherwise KubeRay names a Service after each RayCluster.
            strategy = item["spec"].get("upgradeStrategy", {}).get("type", "NewCluster")
            if strategy != "NewClusterWithIncrementalUpgrade":
                made[f"{name}-serve-svc"] = {"serve": 8000}
            made[f"{name}-head-svc"] = head.ports()
        for item in self.of_kind("InferenceService"):
            made[f"{item['metadata']['name']}-predictor"] = {"http": 80}
        return made

    def containers(self) -> Iterator[tuple[Pod, Mapping[str, Any]]]:
        for pod in self.pods:
            for container in pod.containers:
                yield pod, container
