"""The rules themselves: a release without a fault, and the same with one thing broken."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.rules import RULES, check
from tests.chart.rules.operators import canonical
from tests.chart.rules.scaling import quantity
from tests.support.chart.helm import Object
from tests.support.chart.objects import by_name

_GONE = object()
_WEB = "spec.template.spec.containers.0"
_RAY = "spec.rayClusterConfig"
_WORKER = f"{_RAY}.workerGroupSpecs.0"
_KUBERAY = "kuberay_writes_nothing"


@functools.cache
def good() -> tuple[Object, ...]:
    return tuple(yaml.safe_load((Path(__file__).parent / "good.yaml").read_text()))


def broken(name: str, path: str, value: Any) -> list[Object]:
    """The good release with one value set, or taken out."""
    objects = list(copy.deepcopy(good()))
    holder: Any = by_name(objects)[name]
    *way, last = [int(step) if step.isdigit() else step for step in _split(path)]
    for step in way:
        holder = holder[step]
    if value is _GONE:
        del holder[last]
    elif isinstance(value, Callable):  # type: ignore[arg-type]
        holder[last] = value(holder[last])
    else:
        holder[last] = value
    return objects


def _split(path: str) -> list[str]:
    """At dots, except those that are written twice."""
    return [step.replace("\0", ".") for step in path.replace("..", "\0").split(".")]


def test_the_good_release_has_no_fault() -> None:
    assert check(good()) == []


BREAKAGES: list[tuple[str, str, Any, str]] = [
    # names
    ("ConfigMap/settings", "metadata.name", "Settings", "object_names: ConfigMap/Settings"),
    ("RayService/rs", "metadata.name", "r" * 48, "object_names"),
    ("InferenceService/model", "metadata.name", "m" * 49, "object_names"),
    ("InferenceService/model", "metadata.name", "m" * 47, "kserve_hosts"),
    ("CronJob/sweep", "metadata.name", "s" * 53, "object_names"),
    ("Service/web", "metadata.name", "1web", "object_names"),
    ("Deployment/web", f"{_WEB}.name", "Web", "inner_names"),
    ("Deployment/web", f"{_WEB}.ports.0.name", "http-of-the-service", "inner_names"),
    (
        "Deployment/web",
        "spec.template.spec.volumes",
        lambda found: [*found, *found],
        "inner_names: Deployment/web: volume tmp is there 2 times",
    ),
    (
        "Deployment/web",
        f"{_WEB}.env.1.name",
        "PASSWORD",
        "inner_names: Deployment/web: web has PASSWORD 2 times",
    ),
    ("Deployment/web", "metadata.labels.app", "w" * 64, "label_syntax"),
    ("Deployment/web", "metadata.labels", {"a/b/c": "x"}, "label_syntax"),
    ("Deployment/web", "metadata.labels", {"app": True}, "label_syntax"),
    ("Deployment/web", "metadata.labels.app", "ends-", "label_syntax"),
    ("ConfigMap/settings", "metadata.annotations", {"a": 1}, "label_syntax"),
    ("PodDisruptionBudget/ray", "metadata.name", "web", "no_duplicates"),
    ("ConfigMap/settings", "metadata.namespace", "default", "namespaces"),
    ("RoleBinding/reads", "subjects.0.namespace", "default", "namespaces"),
    ("Role/reads", "kind", "ClusterRole", "objects_exist"),
    # selectors
    (
        "Deployment/web",
        "spec.selector.matchLabels.app",
        "wob",
        "workloads: Deployment/web does not",
    ),
    ("Deployment/web", "spec.selector", {}, "workloads: Deployment/web selects the pods of"),
    ("Service/web", "spec.selector.app", "wob", "services: Service/web selects no pod"),
    ("Service/web", "spec.selector.app", "sweep", "services: Service/web selects CronJob/sweep"),
    ("Service/web", "spec.ports.0.targetPort", "https", "services"),
    ("Service/web", "spec.ports.0.targetPort", 8081, "services"),
    ("PodDisruptionBudget/web", "spec.selector.matchLabels.app", "wob", "disruption_budgets"),
    ("PodDisruptionBudget/web", "spec.selector", {}, "disruption_budgets"),
    ("PodDisruptionBudget/web", "spec.minAvailable", 2, "disruption_budgets"),
    (
        "PodDisruptionBudget/web",
        "spec.unhealthyPodEvictionPolicy",
        _GONE,
        "disruption_budgets: PodDisruptionBudget/web: pods that crash",
    ),
    (
        "PodDisruptionBudget/ray",
        "spec",
        lambda s: {**s, "minAvailable": "50%"},
        "disruption_budgets",
    ),
    ("Deployment/web", f"{_WEB}.readinessProbe.httpGet.port", "https", "probes"),
    ("Deployment/web", f"{_WEB}.readinessProbe.httpGet.port", 8081, "probes"),
    ("NetworkPolicy/web", "spec.podSelector.matchLabels.app", "wob", "policies"),
    ("NetworkPolicy/web", "spec.ingress.0.ports.0.port", "https", "policies"),
    ("NetworkPolicy/web", "spec.ingress.0.ports.0.port", 80, "policies"),
    ("NetworkPolicy/web", "spec.egress.0.ports.0.port", 80, "policies"),
    (
        "NetworkPolicy/web",
        "spec.ingress.0.from.0.podSelector.matchLabels",
        {"app": "nobody"},
        "policies: NetworkPolicy/web lets in nobody",
    ),
    (
        "NetworkPolicy/web",
        "spec.egress.0.to.0.podSelector.matchLabels.component",
        "explainer",
        "policies: NetworkPolicy/web lets through to nobody",
    ),
    ("ServiceMonitor/web", "spec.selector.matchLabels.app", "wob", "monitors"),
    ("ServiceMonitor/web", "spec.endpoints.0.port", "metrics", "monitors"),
    ("PodMonitor/ray", "spec.podMetricsEndpoints.0.port", "metrics", "monitors"),
    ("PodMonitor/ray", "spec.podMetricsEndpoints.1.portNumber", 8080, "monitors"),
    (
        "Ingress/web",
        "spec.rules.0.http.paths.0.backend.service.name",
        "rs-serve",
        "routes: Ingress/web leads to Service rs-serve",
    ),
    ("Ingress/web", "spec.rules.0.http.paths.0.backend.service.port.number", 80, "routes"),
    ("HTTPRoute/web", "spec.rules.0.backendRefs.0.port", 8080, "routes"),
    (
        "RayService/rs",
        "spec.serveConfigV2",
        lambda text: text.replace("EveryNode", "HeadOnly"),
        "serve_endpoints: RayService/rs: workers have no HTTP proxy",
    ),
    (
        "RayService/rs",
        f"{_WORKER}.template.spec.containers.0.readinessProbe",
        {"httpGet": {"path": "/api/healthz", "port": 52365}},
        "serve_endpoints: RayService/rs cpu can be ready without",
    ),
    # references
    ("Secret/keys", "metadata.name", "kyes", "objects_exist: Deployment/web refers to Secret keys"),
    ("Deployment/web", "spec.template.spec.serviceAccountName", "face", "objects_exist"),
    ("RoleBinding/reads", "roleRef.name", "writes", "objects_exist"),
    (
        "Deployment/web",
        "spec.template.spec.imagePullSecrets",
        None,
        "objects_exist: Deployment/web refers to Secret pull",
    ),
    ("Secret/keys", "stringData", {"pass": "correct-horse"}, "keys_exist"),
    ("ConfigMap/settings", "data", {}, "keys_exist"),
    ("Deployment/web", f"{_WEB}.volumeMounts.0.name", "temp", "volumes_exist"),
    ("Deployment/web", f"{_WEB}.volumeMounts", [], "volumes_exist"),
    (
        "Deployment/web",
        f"{_WEB}.volumeMounts",
        lambda found: [*found, *found],
        "volumes_exist: Deployment/web: web mounts /tmp twice",
    ),
    (
        "ConfigMap/settings",
        "data.level",
        "http://rs-serve.vision.svc:8000",
        "services_exist: ConfigMap/settings calls Service rs-serve",
    ),
    (
        "RayService/rs",
        "spec.upgradeStrategy",
        {"type": "NewClusterWithIncrementalUpgrade"},
        "routes: Ingress/web leads to Service rs-serve-svc, which is not there",
    ),
    ("ConfigMap/settings", "data.level", "is correct-horse", "secrets_stay_secret: ConfigMap"),
    ("Deployment/web", f"{_WEB}.args", ["--key=correct-horse"], "secrets_stay_secret: Deployment"),
    (
        "Deployment/web",
        f"{_WEB}.env.0",
        {"name": "AWS_SECRET_ACCESS_KEY", "value": "x"},
        "secrets_stay_secret: Deployment/web: web has AWS_SECRET_ACCESS_KEY in the open",
    ),
    # scaling
    ("HorizontalPodAutoscaler/web", "spec.maxReplicas", 1, "bounds"),
    ("ScaledObject/web", "spec.maxReplicaCount", 0, "bounds"),
    ("InferenceService/model", "spec.predictor.minReplicas", 3, "bounds"),
    ("RayService/rs", f"{_WORKER}.maxReplicas", 0, "bounds"),
    ("RayService/rs", f"{_WORKER}.replicas", 3, "bounds"),
    (
        "RayService/rs",
        "spec.serveConfigV2",
        lambda text: text.replace("*scale, max_replicas: 1", "*scale, max_replicas: 0", 1),
        "bounds: RayService/rs: decode",
    ),
    ("Deployment/web", f"{_WEB}.resources.limits.memory", "32Mi", "limits_hold_requests"),
    (
        "RayService/rs",
        f"{_RAY}.headGroupSpec.rayStartParams",
        {},
        "replicas_fit: RayService/rs: the head",
    ),
    ("RayService/rs", f"{_WORKER}.maxReplicas", 1, "replicas_fit"),
    ("RayService/rs", f"{_WORKER}.rayStartParams", {"num-cpus": "1"}, "replicas_fit"),
    (
        "RayService/rs",
        "spec.serveConfigV2",
        # Enough cores in all, but no worker has so many of them.
        lambda text: text.replace(
            "max_replicas: 2}\n        ray_actor_options: {num_cpus: 1",
            "max_replicas: 1}\n        ray_actor_options: {num_cpus: 2.5",
        ),
        "replicas_fit: RayService/rs: 1 of the detect replicas",
    ),
    (
        "RayService/rs",
        "spec.serveConfigV2",
        lambda text: text.replace("num_cpus: 1, num_gpus: 0", "num_cpus: 1, num_gpus: 1", 1),
        "replicas_fit: RayService/rs: 2 of the detect replicas",
    ),
    (
        "RayService/rs",
        "spec.serveConfigV2",
        lambda text: text.replace("args: {}", "args: {limit: {}}"),
        "serve_knows: RayService/rs: the application refuses its arguments",
    ),
    (
        "RayService/rs",
        "spec.serveConfigV2",
        lambda text: text.replace("args: {}", "args: {scale: {}}"),
        "serve_knows: RayService/rs: a change of args.scale",
    ),
    (
        "RayService/rs",
        "spec.serveConfigV2",
        lambda text: text.replace("name: match", "name: matcher"),
        "serve_knows: RayService/rs: the deployments are ingress, decode, detect, match",
    ),
    (
        "RayService/rs",
        "spec.serveConfigV2",
        lambda text: text.replace("name: match", "name: match\n        max_surge: 100"),
        "serve_knows: RayService/rs: Serve knows no max_surge of match",
    ),
    (
        "RayService/rs",
        "spec.serveConfigV2",
        lambda text: text.replace("upscale_delay_s: 1, ", ""),
        "serve_knows: RayService/rs: ingress has no autoscaling_config.upscale_delay_s",
    ),
    # security
    ("Deployment/web", "spec.template.spec.securityContext.runAsNonRoot", _GONE, "restricted"),
    ("Deployment/web", "spec.template.spec.securityContext.runAsUser", 0, "restricted"),
    ("Deployment/web", "spec.template.spec.securityContext.seccompProfile", _GONE, "restricted"),
    ("Deployment/web", f"{_WEB}.securityContext.readOnlyRootFilesystem", False, "restricted"),
    ("Deployment/web", f"{_WEB}.securityContext.allowPrivilegeEscalation", _GONE, "restricted"),
    ("Deployment/web", f"{_WEB}.securityContext.privileged", True, "restricted"),
    ("Deployment/web", f"{_WEB}.securityContext.capabilities", {"drop": ["NET_RAW"]}, "restricted"),
    ("Deployment/web", f"{_WEB}.securityContext.capabilities.add", ["NET_ADMIN"], "restricted"),
    (
        "RayService/rs",
        f"{_RAY}.autoscalerOptions.securityContext",
        _GONE,
        "restricted: RayService/rs head: autoscaler",
    ),
    ("Deployment/web", "spec.template.spec.hostNetwork", True, "nothing_of_the_host"),
    ("Deployment/web", f"{_WEB}.ports.0.hostPort", 80, "nothing_of_the_host"),
    (
        "Deployment/web",
        "spec.template.spec.volumes.0",
        {"name": "tmp", "hostPath": {"path": "/tmp"}},
        "nothing_of_the_host",
    ),
    (
        "CronJob/sweep",
        "spec.jobTemplate.spec.template.spec.automountServiceAccountToken",
        _GONE,
        "tokens",
    ),
    ("Deployment/web", f"{_WEB}.resources.requests.cpu", _GONE, "resources"),
    ("Deployment/web", f"{_WEB}.resources.limits", _GONE, "resources"),
    ("Deployment/web", f"{_WEB}.image", "registry.example:5000/web", "images"),
    ("Deployment/web", f"{_WEB}.image", "web:latest", "images"),
    ("InferenceService/model", "spec.predictor.model.runtimeVersion", _GONE, "images"),
    (
        "RayService/rs",
        f"{_WORKER}.template.spec.volumes.0",
        {"name": "tmp", "persistentVolumeClaim": {"claimName": "keys"}},
        "room_to_write",
    ),
    (
        "RayService/rs",
        f"{_WORKER}.template.spec.containers.0.volumeMounts.0.mountPath",
        "/var/tmp",
        "room_to_write",
    ),
    (
        "RayService/rs",
        f"{_WORKER}.template.spec.containers.0.volumeMounts.0.readOnly",
        True,
        "room_to_write",
    ),
    (
        "Deployment/web",
        "spec.template.spec.volumes.0.emptyDir",
        {"medium": "Memory"},
        "bounded_memory",
    ),
    ("Deployment/web", f"{_WEB}.resources.limits.ephemeral-storage", _GONE, "bounded_disk"),
    ("Deployment/web", f"{_WEB}.resources.requests.ephemeral-storage", _GONE, "bounded_disk"),
    ("Deployment/web", "spec.template.spec.volumes.0.emptyDir", {}, "bounded_disk"),
    (
        "RayService/rs",
        f"{_RAY}.headGroupSpec.rayStartParams.system-config",
        _GONE,
        "photos_stay_in_memory: RayService/rs: Ray's object stores spill",
    ),
    (
        "RayService/rs",
        f"{_RAY}.headGroupSpec.rayStartParams.system-config",
        "'{\"automatic_object_spilling_enabled\": false}'",
        "photos_stay_in_memory: RayService/rs: Ray's object stores take files",
    ),
    (
        "RayService/rs",
        f"{_WORKER}.template.spec.containers.0.env",
        [],
        "photos_stay_in_memory: RayService/rs cpu",
    ),
    ("Service/web", "spec.type", "LoadBalancer", "no_open_doors"),
    # operators
    (
        "RayService/rs",
        f"{_WORKER}.scaleStrategy",
        _GONE,
        "kuberay_writes_nothing: RayService/rs: rayClusterConfig.workerGroupSpecs.0 has no "
        "scaleStrategy",
    ),
    ("RayService/rs", f"{_WORKER}.template.spec.containers.0.resources", _GONE, _KUBERAY),
    ("RayService/rs", f"{_RAY}.headGroupSpec.template.spec.containers.0.args", [], _KUBERAY),
    (
        "RayService/rs",
        f"{_WORKER}.template.spec.containers.0.env",
        [{"name": "EMPTY", "value": ""}],
        _KUBERAY,
    ),
    *(
        ("RayService/rs", f"{_WORKER}.template.spec.containers.0.resources.{where}", much, _KUBERAY)
        for where, much in (
            ("requests.cpu", 2),
            ("requests.cpu", "0.5"),
            ("limits.memory", "2048Mi"),
        )
    ),
    ("RayService/rs", f"{_RAY}.autoscalerOptions.resources.limits.memory", "0.5Gi", _KUBERAY),
]


@pytest.mark.parametrize(("name", "path", "value", "expected"), BREAKAGES)
def test_a_fault_is_told(name: str, path: str, value: Any, expected: str) -> None:
    if path.endswith("imagePullSecrets"):
        value = [{"name": "pull"}]
    faults = check(broken(name, path, value))
    assert any(fault.startswith(expected) for fault in faults), faults


def test_every_rule_is_broken_by_one_of_them() -> None:
    broken_rules = {expected.partition(":")[0] for *_, expected in BREAKAGES}
    assert {rule.__name__ for rule in RULES} <= broken_rules


def test_what_the_user_brings_is_not_missing() -> None:
    objects = broken("Secret/keys", "metadata.name", "other")
    assert check(objects, named=["keys"]) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500m", 0.5), ("2Gi", 2**31), ("4", 4), (1.5, 1.5), ("1k", 1000), ("3M", 3e6)],
)
def test_quantities(text: str | float, expected: float) -> None:
    assert float(quantity(text)) == expected


def test_what_is_no_quantity() -> None:
    with pytest.raises(ValueError, match="no quantity: '4 GB'"):
        quantity("4 GB")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500m", "500m"),
        ("0.5", "500m"),
        ("1000m", "1"),
        (2, "2"),
        ("1.5Gi", "1536Mi"),
        ("1024Mi", "1Gi"),
        ("4000M", "4G"),
        ("3000", "3k"),
        ("1.953125Ki", "2000"),
        ("0.5Ki", "512"),
        ("0Gi", "0"),
    ],
)
def test_quantities_as_kubernetes_writes_them(text: str | float, expected: str) -> None:
    assert canonical(text) == expected
