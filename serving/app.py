"""The Serve application: the only place where deployments are wired."""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig

from serving.api.ingress import Ingress
from serving.api.memory import check_room
from serving.settings import AppArgs, Scale
from serving.stages.decode import Decoder
from serving.stages.detect import Detector
from serving.stages.interfaces import Decode, Detect, Match
from serving.stages.match import Matcher

# After at most this time a dead replica is noticed, and another one is started.
_HEALTH_CHECK_SECONDS = 2

# mypy compares each deployment with the interface that its callers use.
_DECODER: type[Decode] = Decoder
_DETECTOR: type[Detect] = Detector
_MATCHER: type[Match] = Matcher


def build(args: dict[str, Any]) -> Application:
    """Build the application of ``serveConfigV2``: ``import_path: serving.app:build``.

    Args:
        args: the fields of `AppArgs`.

    Raises:
        pydantic.ValidationError: a setting is invalid; it names the key.
        ValueError: the memory for bodies is less than one body takes.
    """
    settings = AppArgs.model_validate(args)
    check_room(settings.limits)
    scale = settings.scale
    decode = _deployment(_DECODER, "decode", scale.decode).bind(settings.decode, settings.tracing)
    detect = _deployment(_DETECTOR, "detect", scale.detect).bind(
        settings.detect, settings.tracing, settings.limits.max_faces
    )
    match = _deployment(_MATCHER, "match", scale.match).bind(
        settings.match, settings.gallery, settings.triton, settings.tracing
    )
    return _deployment(serve.ingress()(Ingress), "ingress", scale.ingress).bind(
        decode, detect, match, settings
    )


def _deployment(stage: type, name: str, scale: Scale) -> Any:
    return serve.deployment(stage).options(
        name=name,
        autoscaling_config=AutoscalingConfig(
            min_replicas=scale.min_replicas,
            max_replicas=scale.max_replicas,
            target_ongoing_requests=scale.target_ongoing_requests,
            upscale_delay_s=scale.upscale_delay_s,
            downscale_delay_s=scale.downscale_delay_s,
        ),
        max_ongoing_requests=scale.max_ongoing_requests,
        max_queued_requests=scale.max_queued_requests,
        health_check_period_s=_HEALTH_CHECK_SECONDS,
        graceful_shutdown_timeout_s=scale.graceful_shutdown_timeout_s,
        ray_actor_options={
            "num_cpus": scale.num_cpus,
            "num_gpus": scale.num_gpus,
            "resources": dict(scale.resources),
        },
    )
