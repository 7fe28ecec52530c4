"""What every container is held to: the restricted Pod Security Standard, and more."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from tests.chart.rules.rendering import Rendering
from tests.support.chart.objects import RAY, name_of


def restricted(rendering: Rendering) -> Iterator[str]:
    for pod, container in rendering.containers():
        where = f"{pod.name}: {container['name']}"
        own = container.get("securityContext") or {}
        # What is said of the pod holds for a container that says nothing.
        context = {**(pod.spec.get("securityContext") or {}), **own}
        if context.get("runAsNonRoot") is not True:
            yield f"{where} may run as root"
        if context.get("runAsUser") == 0:
            yield f"{where} runs as user 0"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{where} may write to its root filesystem"
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            yield f"{where} may gain privileges"
        capabilities = own.get("capabilities") or {}
        if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
            yield f"{where} keeps capabilities"
        if (context.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"{where} has no seccomp profile"


def nothing_of_the_host(rendering: Rendering) -> Iterator[str]:
    for pod in rendering.pods:
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.spec.get(field):
                yield f"{pod.name} has {field}"
        for volume in pod.spec.get("volumes", []):
            if "hostPath" in volume:
                yield f"{pod.name} mounts {volume['hostPath']['path']} of the host"
        for container in pod.containers:
            if any("hostPort" in port for port in container.get("ports", [])):
                yield f"{pod.name}: {container['name']} takes a port of the host"


def tokens(rendering: Rendering) -> Iterator[str]:
    """A pod has a token of the API server only if its account may do something there."""
    bound = {
        subject["name"]
        for item in rendering.of_kind("RoleBinding", "ClusterRoleBinding")
        for subject in item.get("subjects", [])
    }
    for pod in rendering.pods:
        account = pod.spec.get("serviceAccountName", "default")
        # KubeRay's autoscaler works with a token, by an account and role that KubeRay makes.
        if pod.role == "head" or account in bound:
            continue
        mounted = pod.spec.get("automountServiceAccountToken")
        if mounted is None:
            mounted = any(
                item["metadata"]["name"] == account
                and item.get("automountServiceAccountToken", True)
                for item in rendering.of_kind("ServiceAccount")
            ) or not rendering.has("ServiceAccount", account)
        if mounted:
            yield f"{pod.name} has a token of the API server and no use for it"


def resources(rendering: Rendering) -> Iterator[str]:
    for pod, container in rendering.containers():
        where = f"{pod.name}: {container['name']}"
        asked = container.get("resources") or {}
        for what in ("cpu", "memory"):
            if what not in asked.get("requests", {}):
                yield f"{where} requests no {what}"
        if "memory" not in asked.get("limits", {}):
            yield f"{where} has no limit of memory"


def images(rendering: Rendering) -> Iterator[str]:
    for pod, container in rendering.containers():
        where = f"{pod.name}: {container['name']}"
        if "modelFormat" in container and "image" not in container:
            tag = container.get("runtimeVersion")  # KServe takes the image from its runtime
        else:
            tag = _tag(container.get("image", ""))
        if tag is None or tag.startswith("latest"):
            yield f"{where} has no explicit version: {container.get('image')}"


def _tag(image: str) -> str | None:
    name, _, digest = image.partition("@")
    _, colon, tag = name.rpartition("/")[2].partition(":")
    return digest or (tag if colon and tag else None)


def room_to_write(rendering: Rendering) -> Iterator[str]:
    """Ray writes below /tmp: its sessions, sockets and logs, and HAProxy's files."""
    for pod in rendering.pods:
        if pod.kind not in RAY:
            continue
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
        for container in pod.containers:
            # KubeRay itself mounts the folder of the sessions for the autoscaler.
            path = "/tmp/ray" if container["name"] == "autoscaler" else "/tmp"
            mount = _mounted(container, path)
            if mount is None and container["name"] == "autoscaler":
                continue
            if mount is None or "emptyDir" not in volumes.get(mount["name"], {}):
                yield f"{pod.name}: {container['name']} has no emptyDir at {path}"
            elif mount.get("readOnly"):
                yield f"{pod.name}: {container['name']} mounts {path} read-only"


def _mounted(container: Mapping[str, Any], path: str) -> Mapping[str, Any] | None:
    above = [path, *map(str, PurePosixPath(path).parents)]
    mounts = {mount["mountPath"].rstrip("/"): mount for mount in container.get("volumeMounts", [])}
    return next((mounts[p] for p in above if p in mounts), None)


def bounded_memory(rendering: Rendering) -> Iterator[str]:
    """Files in memory count as the memory of the containers: they need a limit of their own."""
    for pod in rendering.pods:
        for volume in pod.spec.get("volumes", []):
            directory = volume.get("emptyDir") or {}
            if directory.get("medium") == "Memory" and "sizeLimit" not in directory:
                yield f"{pod.name}: volume {volume['name']} in memory has no size limit"


def bounded_disk(rendering: Rendering) -> Iterator[str]:
    """Nobody fills a node: containers and folders have a share of its disk, and no more."""
    for pod, container in rendering.containers():
        for part in ("requests", "limits"):
            if "ephemeral-storage" not in (container.get("resources") or {}).get(part, {}):
                yield f"{pod.name}: {container['name']} has no {part} of ephemeral-storage"
    for pod in rendering.pods:
        for volume in pod.spec.get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{pod.name}: volume {volume['name']} has no size limit"


def photos_stay_in_memory(rendering: Rendering) -> Iterator[str]:
    """No process of Ray keeps a photo for its lifetime, and no node writes one to its disk."""
    for item in rendering.of_kind("RayService"):
        head = item["spec"]["rayClusterConfig"]["headGroupSpec"]
        # JSON in quotes: it goes through a shell.
        given = "".join(shlex.split(head["rayStartParams"].get("system-config", "'{}'")))
        settings = json.loads(given)
        if settings.get("automatic_object_spilling_enabled") is not False:
            yield f"{name_of(item)}: Ray's object stores spill to the disk"
        if settings.get("local_fs_capacity_threshold") != 0:
            yield f"{name_of(item)}: Ray's object stores take files for memory when they are full"
        for pod in rendering.pods:
            if pod.owner != name_of(item):
                continue
            variables = {
                v["name"]: v.get("value") for v in pod.spec["containers"][0].get("env", [])
            }
            if variables.get("RAY_allow_out_of_band_object_ref_serialization") != "0":
                yield f"{pod.name}: a pickled reference keeps its object for ever"


def no_open_doors(rendering: Rendering) -> Iterator[str]:
    """Only the ingress leads in: no Service of its own opens a port to the outside."""
    for item in rendering.of_kind("Service"):
        if item["spec"].get("type", "ClusterIP") not in ("ClusterIP", "ExternalName"):
            yield f"{name_of(item)} is open to the outside: {item['spec']['type']}"


RULES = (
    restricted,
    nothing_of_the_host,
    tokens,
    resources,
    images,
    room_to_write,
    bounded_memory,
    bounded_disk,
    photos_stay_in_memory,
    no_open_doors,
)
