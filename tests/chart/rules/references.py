"""What an object refers to is rendered, or brought by the user; and secrets stay in Secrets."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from tests.chart.rules.rendering import Rendering
from tests.support.chart.objects import Path, name_of, walk

# Field that names an object -> the object's kind.
_FIELDS = {
    "serviceAccountName": "ServiceAccount",
    "secretName": "Secret",
    "claimName": "PersistentVolumeClaim",
}
_PARENTS = {
    "secretKeyRef": "Secret",
    "secretRef": "Secret",
    "configMapKeyRef": "ConfigMap",
    "configMapRef": "ConfigMap",
    "configMap": "ConfigMap",
    "secret": "Secret",
    "imagePullSecrets": "Secret",
    "secrets": "Secret",
    "secretTargetRef": "Secret",
    "basicAuth": "Secret",
}
# Made by whoever runs the cluster, in every namespace.
_ALWAYS_THERE = {("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")}
_SECRET_NAME = re.compile(
    r"(PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|PRIVATE_KEY|ACCESS_KEY|API_KEY)", re.IGNORECASE
)
_SHORTEST_SECRET = 6


def objects_exist(rendering: Rendering) -> Iterator[str]:
    for item in rendering.objects:
        for kind, name in sorted(set(_references(item))):
            if (kind, name) in _ALWAYS_THERE or name in rendering.named:
                continue
            if not rendering.has(kind, name):
                yield f"{name_of(item)} refers to {kind} {name}, which is not there"


def _references(item: Any) -> Iterator[tuple[str, str]]:
    for path, value in walk(item):
        if not path:
            continue
        field = path[-1]
        parent = next((p for p in reversed(path[:-1]) if isinstance(p, str)), None)
        if isinstance(value, str) and field in _FIELDS:
            yield _FIELDS[field], value
        elif isinstance(value, str) and field == "name" and parent in _PARENTS:
            holder = _at(item, path[:-1])
            if not holder.get("optional"):
                yield _PARENTS[parent], value
    if role := item.get("roleRef"):
        yield role["kind"], role["name"]
    for subject in item.get("subjects", []):
        if subject["kind"] == "ServiceAccount":
            yield "ServiceAccount", subject["name"]


def _at(item: Any, path: Path) -> Any:
    for step in path:
        item = item[step]
    return item


def keys_exist(rendering: Rendering) -> Iterator[str]:
    """A key that is asked of a rendered Secret or ConfigMap is in it."""
    held = {
        (item["kind"], item["metadata"]["name"]): {
            *item.get("data", {}),
            *item.get("stringData", {}),
            *item.get("binaryData", {}),
        }
        for item in rendering.of_kind("Secret", "ConfigMap")
    }
    for item in rendering.objects:
        for path, value in walk(item):
            if path and path[-1] in ("secretKeyRef", "configMapKeyRef"):
                kind = "Secret" if path[-1] == "secretKeyRef" else "ConfigMap"
                keys = held.get((kind, value["name"]))
                if keys is not None and value["key"] not in keys and not value.get("optional"):
                    yield f"{name_of(item)}: {kind} {value['name']} has no key {value['key']}"


def volumes_exist(rendering: Rendering) -> Iterator[str]:
    for pod in rendering.pods:
        volumes = {volume["name"] for volume in pod.spec.get("volumes", [])}
        item = next(i for i in rendering.objects if name_of(i) == pod.owner)
        claims = item.get("spec", {}).get("volumeClaimTemplates", [])
        volumes |= {claim["metadata"]["name"] for claim in claims}
        mounted: set[str] = set()
        for container in pod.containers:
            paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            for path in sorted({p for p in paths if paths.count(p) > 1}):
                yield f"{pod.name}: {container['name']} mounts {path} twice"
            names = {mount["name"] for mount in container.get("volumeMounts", [])}
            mounted |= names
            for name in sorted(names - volumes):
                yield f"{pod.name}: {container['name']} mounts {name}, which is no volume"
        for name in sorted(volumes - mounted):
            yield f"{pod.name}: volume {name} is mounted by nobody"


def services_exist(rendering: Rendering) -> Iterator[str]:
    """A Service of this namespace that is called by its name is made by the release or for it."""
    called = re.compile(rf"(?:^|://)([a-z0-9-]+)\.{re.escape(rendering.namespace)}\.svc\b")
    for item in rendering.objects:
        for _, value in walk(item):
            for name in called.findall(value) if isinstance(value, str) else ():
                if name not in rendering.services():
                    yield f"{name_of(item)} calls Service {name}, which is not there"


def secrets_stay_secret(rendering: Rendering) -> Iterator[str]:
    secrets = {
        text: f"{item['metadata']['name']}.{key}"
        for item in rendering.of_kind("Secret")
        for key, text in _texts(item)
        if len(text) >= _SHORTEST_SECRET
    }
    for item in rendering.objects:
        if item["kind"] == "Secret":
            continue
        text = json.dumps(item, ensure_ascii=False)
        for value, where in secrets.items():
            if json.dumps(value, ensure_ascii=False)[1:-1] in text:
                yield f"{name_of(item)} holds the value of Secret {where}"
    for pod, container in rendering.containers():
        for variable in container.get("env", []):
            name = variable["name"]
            if variable.get("value") and _SECRET_NAME.search(name) and not name.endswith("_FILE"):
                yield f"{pod.name}: {container['name']} has {name} in the open"


def _texts(item: Any) -> Iterator[tuple[str, str]]:
    yield from item.get("stringData", {}).items()
    for key, value in item.get("data", {}).items():
        yield key, base64.b64decode(value).decode(errors="replace")


RULES = (objects_exist, keys_exist, volumes_exist, services_exist, secrets_stay_secret)
