"""The pods of a rendering in a cluster, with the labels and fields that operators add."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support.chart.helm import Object

RAY = ("RayService", "RayCluster")
# The port of the agent of every Ray pod, whether a container declares it or not.
RAY_AGENT = 52365

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Pod:
    """A pod that an object of the rendering creates.

    Attributes:
        owner: ``Kind/name`` of the object.
        role: of the pod in it: ``head``, a worker group's name, ``predictor``; otherwise ``""``.
        labels: including those that KubeRay or KServe add.
        spec: with containers under ``containers``, as the operator completes it.
        replicas: the lowest number; None: the pod does not stay (jobs).
    """

    owner: str
    role: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]
    replicas: int | None = None

    @property
    def kind(self) -> str:
        return self.owner.partition("/")[0]

    @property
    def name(self) -> str:
        return f"{self.owner} {self.role}".strip()

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        """All containers, init containers too."""
        return [*self.spec.get("initContainers", []), *self.spec.get("containers", [])]

    def ports(self, protocol: str = "TCP") -> dict[str, int]:
        """Name -> number; ports without a name have their number as name."""
        return {
            str(port.get("name", port["containerPort"])): port["containerPort"]
            for container in self.containers
            for port in container.get("ports", [])
            if port.get("protocol", "TCP") == protocol
        }


def name_of(item: Object) -> str:
    return f"{item['kind']}/{item['metadata']['name']}"


def of_kind(objects: Sequence[Object], *kinds: str) -> list[Object]:
    return [item for item in objects if item["kind"] in kinds]


def only(objects: Sequence[Object], kind: str) -> Object:
    (item,) = of_kind(objects, kind)
    return item


def by_name(objects: Sequence[Object]) -> dict[str, Object]:
    return {name_of(item): item for item in objects}


def serve_config(objects: Sequence[Object]) -> dict[str, Any]:
    """The serveConfigV2 document of the RayService."""
    document = yaml.safe_load(only(objects, "RayService")["spec"]["serveConfigV2"])
    assert isinstance(document, dict)
    return document


def app_args(objects: Sequence[Object]) -> dict[str, Any]:
    """The arguments of the application, see `serving.settings.AppArgs`."""
    (application,) = serve_config(objects)["applications"]
    args: dict[str, Any] = application["args"]
    return args


def deployments(objects: Sequence[Object]) -> dict[str, dict[str, Any]]:
    """The options by deployment with which Serve overrides those in the code."""
    (application,) = serve_config(objects)["applications"]
    return {options["name"]: options for options in application.get("deployments", [])}


def pods(objects: Sequence[Object]) -> list[Pod]:
    return [pod for item in objects for pod in _pods(item)]


def _pods(item: Object) -> Iterator[Pod]:
    spec = item.get("spec") or {}
    made = functools.partial(_from_template, item)
    match item["kind"]:
        case "Pod":
            yield Pod(name_of(item), "", item["metadata"].get("labels", {}), spec)
        case "Deployment" | "StatefulSet":
            yield made("", spec["template"], replicas=spec.get("replicas", 1))
        case "DaemonSet":
            yield made("", spec["template"], replicas=1)
        case "Job":
            yield made("", spec["template"])
        case "CronJob":
            yield made("", spec["jobTemplate"]["spec"]["template"])
        case "RayService":
            yield from _ray_pods(item, spec["rayClusterConfig"])
        case "RayCluster":
            yield from _ray_pods(item, spec)
        case "InferenceService":
            yield _predictor(item)


def _from_template(
    item: Object, role: str, template: Mapping[str, Any], replicas: int | None = None
) -> Pod:
    labels = template.get("metadata", {}).get("labels", {})
    return Pod(name_of(item), role, labels, template["spec"], replicas)


def _ray_pods(item: Object, cluster: Mapping[str, Any]) -> Iterator[Pod]:
    head = cluster["headGroupSpec"]["template"]
    spec = dict(head["spec"])
    if cluster.get("enableInTreeAutoscaling"):
        options = cluster.get("autoscalerOptions", {})
        # KubeRay gives it the head's image, and these resources by default.
        autoscaler = {
            "image": spec["containers"][0]["image"],
            "resources": {
                part: {"cpu": "500m", "memory": "512Mi"} for part in ("requests", "limits")
            },
            **options,
            "name": "autoscaler",
        }
        spec["containers"] = [*spec["containers"], autoscaler]
    labels = head.get("metadata", {}).get("labels", {})
    yield Pod(name_of(item), "head", _ray_labels(item, "head", "headgroup", labels), spec, 1)
    for group in cluster.get("workerGroupSpecs", []):
        template, name = group["template"], group["groupName"]
        labels = template.get("metadata", {}).get("labels", {})
        yield Pod(
            name_of(item),
            name,
            _ray_labels(item, "worker", name, labels),
            template["spec"],
            group.get("minReplicas", 0),
        )


def _ray_labels(
    item: Object, node_type: str, group: str, labels: Mapping[str, str]
) -> dict[str, str]:
    # The name of a RayService's cluster is not known in advance.
    cluster = f"{item['metadata']['name']}-xxxxx"
    return {
        "ray.io/is-ray-node": "yes",
        "ray.io/identifier": f"{cluster}-{node_type}",
        "app.kubernetes.io/name": "kuberay",
        "app.kubernetes.io/created-by": "kuberay-operator",
        "ray.io/serve": "true",
        **labels,
        # KubeRay sets these three, regardless of the template.
        "ray.io/cluster": cluster,
        "ray.io/node-type": node_type,
        "ray.io/group": group,
    }


def _predictor(item: Object) -> Pod:
    name = item["metadata"]["name"]
    predictor = dict(item["spec"]["predictor"])
    model = dict(predictor.pop("model", {}))
    if model:
        model["name"] = "kserve-container"
        predictor["containers"] = [model, *predictor.get("containers", [])]
    labels = {
        **item["metadata"].get("labels", {}),
        **predictor.get("labels", {}),
        "app": f"isvc.{name}-predictor",
        "serving.kserve.io/inferenceservice": name,
        "component": "predictor",
    }
    return Pod(name_of(item), "predictor", labels, predictor, predictor.get("minReplicas", 1))


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector selects; an empty one selects everything, None nothing."""
    if selector is None:
        return False
    if any(labels.get(k) != v for k, v in selector.get("matchLabels", {}).items()):
        return False
    return all(_holds(expression, labels) for expression in selector.get("matchExpressions", []))


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values", [])
    match expression["operator"]:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return key not in labels or labels[key] not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    raise ValueError(f"no operator of a selector: {expression['operator']}")


def walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value inside with its path, containers before what they hold."""
    yield path, value
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from walk(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from walk(inner, (*path, index))
