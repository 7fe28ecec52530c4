"""What scales: its bounds, what Serve knows of it, and that all replicas find room in the pods."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from pydantic import ValidationError
from ray.serve.schema import DeploymentSchema

from serving.settings import AppArgs
from tests.chart.rules.rendering import Rendering
from tests.support.chart.helm import Object
from tests.support.chart.objects import app_args, deployments, name_of

Resources = dict[str, Decimal]

# As serving.app.build sets them.
_AUTOSCALING = {
    "min_replicas",
    "max_replicas",
    "target_ongoing_requests",
    "upscale_delay_s",
    "downscale_delay_s",
}

_UNITS = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    **{f"{p}i": Decimal(2) ** (10 * n) for n, p in enumerate("KMGTPE", start=1)},
    **{p: Decimal(10) ** (3 * n) for n, p in enumerate("kMGTPE", start=1)},
}


def quantity(text: str | int | float) -> Decimal:
    """A Kubernetes quantity: ``500m``, ``2Gi``, ``4``."""
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text))
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"no quantity: {text!r}")
    return Decimal(match[1]) * _UNITS[match[2]]


def bounds(rendering: Rendering) -> Iterator[str]:
    for item in rendering.objects:
        for where, fewest, most in _bounds(item):
            if most < fewest:
                yield f"{name_of(item)}: {where} has at most {most} and at least {fewest}"


def _bounds(item: Object) -> Iterator[tuple[str, Any, Any]]:
    spec = item.get("spec") or {}
    match item["kind"]:
        case "RayService":
            for group in spec["rayClusterConfig"].get("workerGroupSpecs", []):
                name, fewest, most = group["groupName"], group["minReplicas"], group["maxReplicas"]
                yield name, fewest, most
                if "replicas" in group:
                    yield f"{name} (replicas)", fewest, group["replicas"]
                    yield f"{name} (replicas)", group["replicas"], most
            for stage, options in deployments([item]).items():
                scale = options["autoscaling_config"]
                yield stage, scale["min_replicas"], scale["max_replicas"]
        case "InferenceService":
            predictor = spec["predictor"]
            if predictor.get("maxReplicas"):  # 0: no bound
                yield "predictor", predictor.get("minReplicas", 1), predictor["maxReplicas"]
        case "HorizontalPodAutoscaler":
            yield "replicas", spec.get("minReplicas", 1), spec["maxReplicas"]
        case "ScaledObject":
            yield "replicas", spec.get("minReplicaCount", 0), spec.get("maxReplicaCount", 100)


def limits_hold_requests(rendering: Rendering) -> Iterator[str]:
    for pod, container in rendering.containers():
        resources = container.get("resources", {})
        for what, limit in resources.get("limits", {}).items():
            if quantity(resources.get("requests", {}).get(what, 0)) > quantity(limit):
                yield f"{pod.name}: {container['name']} asks for more {what} than its limit"


def replicas_fit(rendering: Rendering) -> Iterator[str]:
    """Every stage at its most, each replica in a worker that has what it needs."""
    for item in rendering.of_kind("RayService"):
        config = item["spec"]["rayClusterConfig"]
        head = config["headGroupSpec"]
        if _node(head)["CPU"] != 0:
            yield f"{name_of(item)}: the head takes replicas (num-cpus is not 0)"
        workers = [
            _node(group)
            for group in config.get("workerGroupSpecs", [])
            for _ in range(group["maxReplicas"])
        ]
        replicas = [
            (stage, _needs(options["ray_actor_options"]))
            for stage, options in deployments([item]).items()
            for _ in range(options["autoscaling_config"]["max_replicas"])
        ]
        # The largest first: what is left then fits in between.
        replicas.sort(key=lambda replica: sum(replica[1].values()), reverse=True)
        homeless = [stage for stage, needs in replicas if not _place(needs, workers)]
        for stage in sorted(set(homeless)):
            yield (
                f"{name_of(item)}: {homeless.count(stage)} of the {stage} replicas have no room "
                "in the worker groups at their largest"
            )


def serve_knows(rendering: Rendering) -> Iterator[str]:
    """The application takes its arguments, and each of its deployments is scaled, all in place."""
    for item in rendering.of_kind("RayService"):
        args = app_args([item])
        try:
            scale = AppArgs.model_validate(args).scale.model_dump()
        except ValidationError as error:
            yield f"{name_of(item)}: the application refuses its arguments: {error}"
            continue
        if "scale" in args:
            yield f"{name_of(item)}: a change of args.scale would restart all stages"
        if set(scale) != set(deployments([item])):
            yield f"{name_of(item)}: the deployments are {', '.join(scale)}, and others are listed"
        for stage, options in deployments([item]).items():
            for where, found, known in _options(options):
                for key in sorted(set(found) - set(known)):
                    yield f"{name_of(item)}: Serve knows no {where}{key} of {stage}"
                # Of these Serve takes the whole, so a missing one would be Serve's default.
                for key in sorted(known - set(found)) if where else ():
                    yield f"{name_of(item)}: {stage} has no {where}{key}"


def _options(options: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], set[str]]]:
    yield "", options, set(DeploymentSchema.model_fields)
    yield "autoscaling_config.", options["autoscaling_config"], _AUTOSCALING
    yield "ray_actor_options.", options["ray_actor_options"], {"num_cpus", "num_gpus", "resources"}


def _place(needs: Resources, workers: list[Resources]) -> bool:
    for worker in workers:
        if all(worker.get(what, Decimal(0)) >= much for what, much in needs.items()):
            for what, much in needs.items():
                worker[what] -= much
            return True
    return False


def _needs(options: Mapping[str, Any]) -> Resources:
    needs = {
        "CPU": options["num_cpus"],
        "GPU": options["num_gpus"],
        **options["resources"],
    }
    return {what: Decimal(str(much)) for what, much in needs.items() if much}


def _node(group: Mapping[str, Any]) -> Resources:
    """As KubeRay tells Ray: rayStartParams, otherwise the limits of the Ray container."""
    params = group.get("rayStartParams") or {}
    resources = group["template"]["spec"]["containers"][0].get("resources", {})
    asked = {**resources.get("requests", {}), **resources.get("limits", {})}
    gpus = next((much for what, much in asked.items() if what.endswith("/gpu")), 0)
    # JSON in quotes: it goes through a shell.
    custom = json.loads("".join(shlex.split(params.get("resources", "'{}'"))))
    cores = quantity(asked.get("cpu", 0)).to_integral_value("ROUND_CEILING")  # Ray's are whole
    found = {
        "CPU": params.get("num-cpus", cores),
        "GPU": params.get("num-gpus", gpus),
        **custom,
        **(group.get("resources") or {}),
    }
    return {what: quantity(str(much)) for what, much in found.items()}


RULES = (bounds, limits_hold_requests, serve_knows, replicas_fit)
