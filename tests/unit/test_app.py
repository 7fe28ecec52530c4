"""The graph: what of the settings arrives at which deployment. Needs no cluster."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from ray.serve import Application

from serving.app import build
from serving.settings import (
    AppArgs,
    DecodeSettings,
    DetectSettings,
    EnrolmentSettings,
    GallerySettings,
    KeySettings,
    LimitSettings,
    MatchSettings,
    TracingSettings,
    TritonSettings,
)

STAGES = ("decode", "detect", "match")


def deployment(app: Application) -> Any:
    return app._bound_deployment


def deployments(args: dict[str, Any]) -> dict[str, Any]:
    """All deployments of the application by name."""
    ingress = deployment(build(args))
    bound = [deployment(a) for a in ingress.init_args if isinstance(a, Application)]
    return {d.name: d for d in (ingress, *bound)}


def test_the_ingress_has_the_stages_in_the_order_of_its_arguments() -> None:
    ingress = deployment(build({}))
    assert ingress.name == "ingress"
    stages = [deployment(a).name for a in ingress.init_args if isinstance(a, Application)]
    assert stages == list(STAGES)


def test_each_deployment_gets_its_own_settings_and_no_other() -> None:
    args = {
        "decode": {"max_pixels": 1000},
        "detect": {"min_score": 0.5},
        "match": {"threshold": 0.7},
        "gallery": {"bucket": "b"},
        "triton": {"model": "m"},
        "limits": {"max_images": 3},
        "keys": {"required": True},
        "tracing": {"endpoint": "http://collector:4318"},
        "console": False,
        "enrolment": {"conflicts": "refuse"},
        "hosts": ["faces.example"],
    }
    built = deployments(args)
    triton, gallery = TritonSettings(model="m"), GallerySettings(bucket="b")
    match, traces = MatchSettings(threshold=0.7), TracingSettings(endpoint="http://collector:4318")
    limits, keys = LimitSettings(max_images=3), KeySettings(required=True)
    assert built["decode"].init_args == (DecodeSettings(max_pixels=1000), traces)
    assert built["detect"].init_args == (DetectSettings(min_score=0.5), traces, limits.max_faces)
    assert built["match"].init_args == (match, gallery, triton, traces)
    (settings,) = built["ingress"].init_args[3:]
    assert settings == AppArgs.model_validate(args)
    assert (settings.limits, settings.keys) == (limits, keys)
    assert settings.enrolment == EnrolmentSettings(conflicts="refuse")
    assert (settings.console, settings.hosts) == (False, ("faces.example",))


def test_every_stage_goes_on_with_its_callers_trace() -> None:
    # `serving.stages.calls.call` hands it to whatever it calls.
    built = deployments({})
    assert all(built[stage].func_or_class.is_stage for stage in built if stage != "ingress")


@pytest.mark.parametrize("name", [*STAGES, "ingress"])
def test_each_deployment_gets_its_own_scale(name: str) -> None:
    scale = {
        "min_replicas": 2,
        "max_replicas": 7,
        "target_ongoing_requests": 3,
        "max_ongoing_requests": 5,
        "max_queued_requests": 11,
        "upscale_delay_s": 1,
        "downscale_delay_s": 13,
        "num_cpus": 0.5,
        "num_gpus": 0.25,
        "resources": {"rack": 0.5},
        "graceful_shutdown_timeout_s": 17,
    }
    built = deployments({"scale": {name: scale}})
    for other, found in built.items():
        got = told_of(found)
        assert got == scale if other == name else not any(got[k] == scale[k] for k in got), other


def told_of(found: Any) -> dict[str, Any]:
    config = found._deployment_config
    auto = config.autoscaling_config
    return {
        "min_replicas": auto.min_replicas,
        "max_replicas": auto.max_replicas,
        "target_ongoing_requests": auto.target_ongoing_requests,
        "max_ongoing_requests": config.max_ongoing_requests,
        "max_queued_requests": config.max_queued_requests,
        "upscale_delay_s": auto.upscale_delay_s,
        "downscale_delay_s": auto.downscale_delay_s,
        "num_cpus": found.ray_actor_options["num_cpus"],
        "num_gpus": found.ray_actor_options["num_gpus"],
        "resources": found.ray_actor_options["resources"],
        "graceful_shutdown_timeout_s": config.graceful_shutdown_timeout_s,
    }


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({"tritn": {}}, "tritn"),
        ({"triton": {"adress": "x"}}, "adress"),
        ({"scale": {"embed": {}}}, "embed"),
        ({"scale": {"match": {"min_replicas": 3, "max_replicas": 2}}}, "max_replicas"),
        ({"gallery": {"secret_key": "s3cr3t"}}, "secret_key"),
    ],
)
def test_a_wrong_key_is_an_error_that_names_it(args: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        build(args)


def test_a_replica_that_died_is_noticed_soon() -> None:
    periods = {d._deployment_config.health_check_period_s for d in deployments({}).values()}
    assert periods == {2}


def test_memory_that_is_less_than_one_body_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="body_memory_bytes"):
        build({"limits": {"body_memory_bytes": 2**20}})
