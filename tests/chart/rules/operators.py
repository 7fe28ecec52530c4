"""What operators write into the objects of a release. Helm 4 changes nothing that is another's.

A list without keys belongs to its last writer as a whole, so inside of one an operator must find
nothing to add or to take away; elsewhere it must find no value that it writes otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.chart.rules.rendering import Rendering
from tests.support.chart.objects import Path, name_of, walk

# Go writes a struct though it is empty: field of the holder -> what every item in it gets.
_ALWAYS_WRITTEN = {
    "workerGroupSpecs": ("scaleStrategy", "rayStartParams", "minReplicas", "maxReplicas"),
    "containers": ("resources",),
    "initContainers": ("resources",),
}
# Pointers and what has no omitempty: they are kept though they are zero or empty.
_KEPT = {
    "allowPrivilegeEscalation",
    "automountServiceAccountToken",
    "emptyDir",
    "enableServiceLinks",
    "labelSelector",
    "maxReplicas",
    "minReplicas",
    "namespaceSelector",
    "optional",
    "podSelector",
    "privileged",
    "rayStartParams",
    "readOnlyRootFilesystem",
    "replicas",
    "resources",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "scaleStrategy",
    "securityContext",
    "terminationGracePeriodSeconds",
}
_DECIMAL = ("m", "", "k", "M", "G", "T", "P")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi")


def kuberay_writes_nothing(rendering: Rendering) -> Iterator[str]:
    """KubeRay 1.7 reads a RayService into Go's types and writes all of it, for its finalizer."""
    for item in rendering.of_kind("RayService"):
        for path, value in walk(item["spec"]):
            where = f"{name_of(item)}: {'.'.join(map(str, path))}"
            if _is_quantity(path) and value != canonical(value):
                yield f"{where} is {value!r}, which KubeRay writes as {canonical(value)!r}"
            if not any(isinstance(step, int) for step in path):
                continue
            for field in _added(path, value):
                yield f"{where} has no {field}, which KubeRay writes"
            if _is_dropped(path, value):
                yield f"{where} is {value!r}, which KubeRay leaves out"


def _is_quantity(path: Path) -> bool:
    return path[-1:] == ("sizeLimit",) or (len(path) > 1 and path[-2] in ("limits", "requests"))


def _added(path: Path, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and len(path) > 1 and isinstance(path[-1], int):
        for field in _ALWAYS_WRITTEN.get(str(path[-2]), ()):
            if field not in value:
                yield field


def _is_dropped(path: Path, value: Any) -> bool:
    if isinstance(path[-1], int) or path[-1] in _KEPT or _is_quantity(path):
        return False
    # Values of maps that have the user's keys are kept.
    if len(path) > 1 and path[-2] in ("labels", "annotations", "matchLabels", "nodeSelector"):
        return False
    return value in ("", 0, False, None) or value in ([], {})


def canonical(text: str | int | float) -> str:
    """A quantity as `resource.Quantity` of Kubernetes writes it."""
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text))
    if match is None:
        raise ValueError(f"no quantity: {text!r}")
    step, units = (1024, _BINARY) if match[2].endswith("i") else (1000, _DECIMAL)
    place = units.index(match[2])
    amount = -int(-float(match[1]) * step**place // 1)
    place = 0
    while amount and amount % step == 0 and place < len(units) - 1:
        amount, place = amount // step, place + 1
    return f"{amount}{units[place] if amount else ''}"


RULES = (kuberay_writes_nothing,)
