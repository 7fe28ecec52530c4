"""Names, labels and where objects lie."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from tests.chart.rules.rendering import CLUSTER_SCOPED, Rendering
from tests.support.chart.objects import name_of, walk

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_KEY = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_RBAC = frozenset({"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"})

# What is shorter than a label's 63: each makes objects with longer names of its own.
LONGEST = {
    "RayService": 47,
    "RayCluster": 63,
    # <name>-predictor is a Service, and isvc.<name>-predictor the value of a label.
    "InferenceService": 48,
    "CronJob": 52,
    "StatefulSet": 52,
    "Service": 63,
    "Job": 63,
    "Pod": 63,
    "Deployment": 63,
}
_ROOMY = 253


def object_names(rendering: Rendering) -> Iterator[str]:
    for item in rendering.objects:
        kind, name = item["kind"], item["metadata"]["name"]
        form = _LABEL_1035 if kind in ("Service", "RayService", "InferenceService") else _SUBDOMAIN
        if kind not in _RBAC and not form.fullmatch(name):
            yield f"{name_of(item)} is no valid name"
        longest = LONGEST.get(kind, _ROOMY)
        if len(name) > longest:
            yield f"{name_of(item)} is longer than {longest} characters"


def inner_names(rendering: Rendering) -> Iterator[str]:
    """Of containers, volumes, ports and variables, and that no two are the same."""
    for pod in rendering.pods:
        names = [container.get("name", "") for container in pod.containers]
        volumes = [volume["name"] for volume in pod.spec.get("volumes", [])]
        for what, found in (("container", names), ("volume", volumes)):
            for name, count in Counter(found).items():
                if not _LABEL.fullmatch(name) or len(name) > 63:
                    yield f"{pod.name}: {what} {name!r} is no valid name"
                if count > 1:
                    yield f"{pod.name}: {what} {name} is there {count} times"
        for container in pod.containers:
            variables = Counter(variable["name"] for variable in container.get("env", []))
            for name in [name for name, count in variables.items() if count > 1]:
                yield f"{pod.name}: {container['name']} has {name} {variables[name]} times"
            for port in container.get("ports", []):
                name = port.get("name", "port")
                if not _LABEL.fullmatch(name) or len(name) > 15 or not re.search("[a-z]", name):
                    yield f"{pod.name}: port {name!r} is no valid name"


def label_syntax(rendering: Rendering) -> Iterator[str]:
    for item in rendering.objects:
        for path, value in walk(item):
            if not path or not isinstance(value, dict):
                continue
            is_annotation = path[-1] == "annotations" and "metadata" in path
            if path[-1] in ("labels", "matchLabels") or is_annotation:
                for key, text in value.items():
                    where = f"{name_of(item)}: {path[-1]} {key}"
                    if not _is_key(key):
                        yield f"{where} is no valid key"
                    if not isinstance(text, str):
                        yield f"{where} is no string: {text!r}"
                    elif not is_annotation and (not _VALUE.fullmatch(text) or len(text) > 63):
                        yield f"{where} has no valid value: {text!r}"


def _is_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and (not _SUBDOMAIN.fullmatch(prefix) or len(prefix) > _ROOMY):
        return False
    return len(name) <= 63 and _KEY.fullmatch(name) is not None


def no_duplicates(rendering: Rendering) -> Iterator[str]:
    keys = Counter(
        (item["apiVersion"].rpartition("/")[0], item["kind"], item["metadata"]["name"])
        for item in rendering.objects
    )
    for (_, kind, name), count in keys.items():
        if count > 1:
            yield f"{kind}/{name} is there {count} times"


def namespaces(rendering: Rendering) -> Iterator[str]:
    for item in rendering.objects:
        namespace = item["metadata"].get("namespace")
        if item["kind"] in CLUSTER_SCOPED:
            if namespace is not None:
                yield f"{name_of(item)} belongs to no namespace"
        elif namespace not in (None, rendering.namespace):
            yield f"{name_of(item)} is in {namespace}, not in {rendering.namespace}"
        for subject in item.get("subjects", []):
            # In a RoleBinding it may be left out; in a ClusterRoleBinding it may not.
            home = subject.get("namespace", namespace or rendering.namespace)
            if item["kind"] == "ClusterRoleBinding":
                home = subject.get("namespace")
            if subject["kind"] == "ServiceAccount" and home != rendering.namespace:
                yield f"{name_of(item)} binds {subject['name']} of namespace {home}"


def kserve_hosts(rendering: Rendering) -> Iterator[str]:
    """KServe makes a host of both names before anything else, and asks for none of them."""
    for item in rendering.of_kind("InferenceService"):
        label = f"{item['metadata']['name']}-predictor-{rendering.namespace}"
        if len(label) > 63:
            yield f"{name_of(item)}: the label {label} of its host has {len(label)} characters"


RULES = (object_names, kserve_hosts, inner_names, label_syntax, no_duplicates, namespaces)
