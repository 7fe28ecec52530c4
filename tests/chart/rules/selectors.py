"""Selectors against labels, and ports against those who listen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.chart.rules.rendering import Rendering
from tests.support.chart.helm import Object
from tests.support.chart.objects import RAY, RAY_AGENT, Pod, matches, name_of, serve_config

_JOBS = ("Job", "CronJob")
_PROXY = 8000
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_MONITORS = {"ServiceMonitor": "endpoints", "PodMonitor": "podMetricsEndpoints"}


def workloads(rendering: Rendering) -> Iterator[str]:
    """A workload selects its own pods and nobody else's."""
    for item in rendering.of_kind("Deployment", "StatefulSet", "DaemonSet"):
        selected = _selected(rendering, item["spec"].get("selector"))
        own = {pod.name for pod in rendering.pods if pod.owner == name_of(item)}
        if not own <= {pod.name for pod in selected}:
            yield f"{name_of(item)} does not select its own pods"
        for pod in selected:
            if pod.name not in own:
                yield f"{name_of(item)} selects the pods of {pod.name}"


def services(rendering: Rendering) -> Iterator[str]:
    for item in rendering.of_kind("Service"):
        spec = item["spec"]
        if "selector" not in spec:
            continue
        selected = _selected(rendering, {"matchLabels": spec["selector"]})
        yield from _one_owner(item, selected)
        for port in spec.get("ports", []):
            target, protocol = port.get("targetPort", port["port"]), port.get("protocol", "TCP")
            for pod in selected:
                if not _listens(pod, target, protocol):
                    yield f"{name_of(item)}: {pod.name} has no port {target}"


def disruption_budgets(rendering: Rendering) -> Iterator[str]:
    for item in rendering.of_kind("PodDisruptionBudget"):
        spec = item["spec"]
        selected = _selected(rendering, spec.get("selector"))
        yield from _one_owner(item, selected)
        # Their owner has no scale subresource, without which nothing else can be counted.
        of_ray = [pod for pod in selected if pod.kind in RAY]
        kept = spec.get("minAvailable")
        if of_ray and not isinstance(kept, int):
            yield f"{name_of(item)} selects Ray's pods: it needs minAvailable as a number"
        if spec.get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield f"{name_of(item)}: pods that crash would keep a node from being drained"
        fewest = sum(pod.replicas or 0 for pod in selected)
        if isinstance(kept, int) and kept >= max(fewest, 1):
            yield f"{name_of(item)} keeps {kept} of {fewest} pods: no node could ever be drained"


def probes(rendering: Rendering) -> Iterator[str]:
    for pod, container in rendering.containers():
        ports = {p.get("name"): p["containerPort"] for p in container.get("ports", [])}
        for where, action in _actions(container):
            port = action.get("port")
            if pod.kind in RAY and port == RAY_AGENT:
                continue
            if port is not None and port not in ports and port not in ports.values():
                yield f"{pod.name}: {container['name']} has no port {port}, which {where} asks"


def _actions(container: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    handlers = {
        **{name: container.get(name) for name in _PROBES},
        **(container.get("lifecycle") or {}),
    }
    for name, handler in handlers.items():
        for action in ("httpGet", "tcpSocket", "grpc"):
            if handler and action in handler:
                yield name, handler[action]


def policies(rendering: Rendering) -> Iterator[str]:
    """Every NetworkPolicy selects pods, and its ports are ports of those who listen."""
    for item in rendering.of_kind("NetworkPolicy"):
        spec = item["spec"]
        selected = _selected(rendering, spec["podSelector"])
        if not selected:
            yield f"{name_of(item)} selects no pod"
        for rule in spec.get("ingress") or []:
            for peer in _inside(rule.get("from")):
                if not _selected(rendering, peer["podSelector"]):
                    yield f"{name_of(item)} lets in nobody: {peer}"
            for port in rule.get("ports") or []:
                if not _open(selected, port):
                    yield f"{name_of(item)}: nobody that it selects has port {port.get('port')}"
        for rule in spec.get("egress") or []:
            inside = _inside(rule.get("to"))
            others = [pod for p in inside for pod in _selected(rendering, p["podSelector"])]
            if inside and not others:
                yield f"{name_of(item)} lets through to nobody: {inside}"
            if inside and len(inside) == len(rule["to"]):
                for port in rule.get("ports") or []:
                    if not _open(others, port):
                        yield f"{name_of(item)}: nobody there has port {port.get('port')}"


def _inside(peers: Sequence[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
    """Pods of this release: of others nothing is known."""
    return [p for p in peers or [] if "podSelector" in p and "namespaceSelector" not in p]


def monitors(rendering: Rendering) -> Iterator[str]:
    for item in rendering.of_kind(*_MONITORS):
        spec = item["spec"]
        if item["kind"] == "PodMonitor":
            pods = _selected(rendering, spec["selector"])
            found = {pod.name: set(pod.ports()) for pod in pods}
            numbers = {pod.name: set(pod.ports().values()) for pod in pods}
        else:
            found = {
                name_of(service): {p.get("name") for p in service["spec"].get("ports", [])}
                for service in rendering.of_kind("Service")
                if matches(spec["selector"], service["metadata"].get("labels", {}))
            }
            numbers = {}
        if not found:
            yield f"{name_of(item)} selects nothing"
        for endpoint in spec[_MONITORS[item["kind"]]]:
            port = endpoint.get("port")
            if port is not None and any(port not in ports for ports in found.values()):
                yield f"{name_of(item)}: port {port} is not on all of {sorted(found)}"
            number = endpoint.get("portNumber")
            if number is not None and any(number not in ports for ports in numbers.values()):
                yield f"{name_of(item)}: port {number} is not on all of {sorted(found)}"


def serve_endpoints(rendering: Rendering) -> Iterator[str]:
    """KubeRay's Service has every worker that is ready, and the head: each must have a proxy."""
    for item in rendering.of_kind("RayService"):
        if serve_config([item]).get("proxy_location", "EveryNode") != "EveryNode":
            yield f"{name_of(item)}: workers have no HTTP proxy, and are in the Service"
        head_is_out = item["spec"].get("excludeHeadPodFromServeSvc")
        for pod in rendering.pods:
            if pod.owner != name_of(item) or (pod.role == "head" and head_is_out):
                continue
            container = pod.spec["containers"][0]
            asked = (container.get("readinessProbe") or {}).get("httpGet", {})
            port = asked.get("port")
            number = pod.ports().get(port, port) if isinstance(port, str) else port
            if (asked.get("path"), number) != ("/-/healthz", _PROXY):
                yield f"{pod.name} can be ready without an HTTP proxy"


def routes(rendering: Rendering) -> Iterator[str]:
    """Ingresses and HTTPRoutes lead to a Service and a port that there is or will be."""
    services = rendering.services()
    for item in rendering.of_kind("Ingress", "HTTPRoute"):
        for name, port in _backends(item):
            if name not in services:
                yield f"{name_of(item)} leads to Service {name}, which is not there"
            elif port not in services[name] and port not in services[name].values():
                yield f"{name_of(item)}: Service {name} has no port {port}"


def _backends(item: Object) -> Iterator[tuple[str, str | int]]:
    spec = item["spec"]
    if item["kind"] == "HTTPRoute":
        for rule in spec.get("rules", []):
            for reference in rule.get("backendRefs", []):
                yield reference["name"], reference["port"]
        return
    backends = [path["backend"] for rule in spec.get("rules", []) for path in rule["http"]["paths"]]
    for backend in [*backends, *filter(None, [spec.get("defaultBackend")])]:
        port = backend["service"]["port"]
        yield backend["service"]["name"], port.get("name") or port["number"]


def _selected(rendering: Rendering, selector: Mapping[str, Any] | None) -> list[Pod]:
    return [pod for pod in rendering.pods if matches(selector, pod.labels)]


def _one_owner(item: Object, selected: list[Pod]) -> Iterator[str]:
    owners = sorted({pod.owner for pod in selected})
    if not owners:
        yield f"{name_of(item)} selects no pod"
    if len(owners) > 1:
        yield f"{name_of(item)} selects pods of {', '.join(owners)}"
    for pod in selected:
        if pod.kind in _JOBS:
            yield f"{name_of(item)} selects {pod.name}, which ends"


def _listens(pod: Pod, port: str | int, protocol: str) -> bool:
    ports = pod.ports(protocol)
    return port in (ports if isinstance(port, str) else ports.values())


def _open(selected: list[Pod], port: Mapping[str, Any]) -> bool:
    """A range, or no number, is open on purpose."""
    number, protocol = port.get("port"), port.get("protocol", "TCP")
    if number is None or "endPort" in port:
        return True
    return any(_listens(pod, number, protocol) for pod in selected)


RULES = (
    workloads,
    services,
    disruption_budgets,
    probes,
    policies,
    monitors,
    serve_endpoints,
    routes,
)
