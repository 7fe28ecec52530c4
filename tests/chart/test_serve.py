"""What Ray Serve itself makes of the rendered document, and what a change of it restarts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ray.serve._private.application_state import override_deployment_info
from ray.serve._private.build_app import build_app
from ray.serve._private.config import ReplicaConfig
from ray.serve._private.deploy_utils import get_app_code_version
from ray.serve._private.deployment_info import DeploymentInfo
from ray.serve._private.version import DeploymentVersion
from ray.serve.schema import ServeDeploySchema

from serving.api.memory import JSON_FACTOR
from serving.app import build
from serving.settings import AppArgs, Scale
from serving.vision.formats import memory
from tests.support.chart.helm import CHART, Helm, HelmError, Values
from tests.support.chart.objects import only, serve_config
from tests.support.chart.values import VARIANTS, load

STAGES = ("ingress", "decode", "detect", "match")
EVERY_KEY = {
    "min_replicas": 2,
    "max_replicas": 7,
    "target_ongoing_requests": 0.5,
    "max_ongoing_requests": 63,
    "max_queued_requests": 7,
    "upscale_delay_s": 0,
    "downscale_delay_s": 0,
    "graceful_shutdown_timeout_s": 7,
    "num_cpus": 0.5,
    "num_gpus": 0,
}
IN_THE_ACTOR = {"num_cpus", "num_gpus"}


def served(helm: Helm, values: Values | None = None) -> dict[str, DeploymentVersion]:
    """Serve's versions of the deployments, which decide what it restarts."""
    document = serve_config(helm.template(values, files=[VARIANTS["defaults"]]))
    (application,) = ServeDeploySchema.model_validate(document).applications
    code = get_app_code_version(application)
    infos = override_deployment_info(built(application.args), application)
    return {
        name: DeploymentVersion(code, info.deployment_config, info.replica_config.ray_actor_options)
        for name, info in infos.items()
    }


def built(args: dict[str, Any]) -> dict[str, DeploymentInfo]:
    """As Serve has them from the code, without what the constructors get."""
    return {
        deployment.name: DeploymentInfo(
            deployment_config=deployment._deployment_config,
            replica_config=ReplicaConfig.create(
                object, ray_actor_options=deployment._replica_config.ray_actor_options
            ),
            start_time_ms=0,
            deployer_job_id="",
        )
        for deployment in build_app(build(args), name="faces").deployments
    }


def scale_of(version: DeploymentVersion) -> Scale:
    """The settings that lead to this, whatever the stage's own defaults are."""
    config, actor = version.deployment_config, version.ray_actor_options
    autoscaling = config.autoscaling_config
    return Scale(
        min_replicas=autoscaling.min_replicas,
        max_replicas=autoscaling.max_replicas,
        target_ongoing_requests=autoscaling.target_ongoing_requests,
        max_ongoing_requests=config.max_ongoing_requests,
        max_queued_requests=config.max_queued_requests,
        upscale_delay_s=autoscaling.upscale_delay_s,
        downscale_delay_s=autoscaling.downscale_delay_s,
        num_cpus=actor["num_cpus"],
        num_gpus=actor["num_gpus"],
        resources=actor["resources"],
        graceful_shutdown_timeout_s=config.graceful_shutdown_timeout_s,
    )


def of_values(stage: str) -> Mapping[str, Any]:
    scale: Mapping[str, Any] = load(CHART / "values.yaml")["stages"][stage]["scale"]
    return scale


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_scales_as_in_the_application(helm4: Helm, stage: str) -> None:
    """But for what values.yaml says."""
    default: Scale = getattr(AppArgs().scale, stage)
    expected = Scale(**{**default.model_dump(), **of_values(stage), "resources": {stage: 1}})
    assert scale_of(served(helm4)[stage]) == expected
    # How much it takes on is no matter of where it runs.
    for key in ("target_ongoing_requests", "max_ongoing_requests", "max_queued_requests"):
        assert getattr(expected, key) == getattr(default, key)


@pytest.mark.parametrize("stage", STAGES)
def test_the_rest_is_as_in_the_code(helm4: Helm, stage: str) -> None:
    """Of the options that are dicts Serve takes the whole, so nothing may be lost."""
    code, version = built({})[stage], served(helm4)[stage]
    scale, theirs, ours = set(EVERY_KEY), code.deployment_config, version.deployment_config
    changed = {*scale, "autoscaling_config", "max_surge_percent", "user_configured_option_names"}
    assert ours.model_dump(exclude=changed) == theirs.model_dump(exclude=changed)
    assert ours.autoscaling_config.model_dump(exclude=scale) == (
        theirs.autoscaling_config.model_dump(exclude=scale)
    )
    assert version.ray_actor_options.keys() == code.replica_config.ray_actor_options.keys()


def test_there_is_a_change_of_every_key() -> None:
    assert EVERY_KEY.keys() | {"resources"} == Scale.model_fields.keys()


@pytest.mark.parametrize("key", EVERY_KEY)
def test_a_change_of_scale_arrives(helm4: Helm, key: str) -> None:
    """Zeros too, which are easily taken for nothing."""
    after = served(helm4, {"stages": {"decode": {"scale": {key: EVERY_KEY[key]}}}})
    assert getattr(scale_of(after["decode"]), key) == EVERY_KEY[key]


def test_a_change_of_scale_restarts_nothing(helm4: Helm) -> None:
    before = served(helm4)
    scale = {key: value for key, value in EVERY_KEY.items() if key not in IN_THE_ACTOR}
    after = served(helm4, {"stages": {stage: {"scale": scale} for stage in STAGES}})
    for stage in STAGES:
        assert scale_of(after[stage]) != scale_of(before[stage])
        assert not before[stage].requires_actor_restart(after[stage]), stage


def test_a_change_of_cpus_restarts_its_stage(helm4: Helm) -> None:
    before = served(helm4)
    after = served(helm4, {"stages": {"decode": {"scale": {"num_cpus": 0.5}}}})
    assert [s for s in STAGES if before[s].requires_actor_restart(after[s])] == ["decode"]


def test_a_change_of_settings_restarts_all_stages(helm4: Helm) -> None:
    """So the stages' replicas are replaced one by one, the new ones first."""
    before = served(helm4)
    after = served(helm4, {"settings": {"match": {"threshold": 0.7}}})
    for stage in STAGES:
        assert before[stage].requires_actor_restart(after[stage])
        assert after[stage].deployment_config.max_surge_percent == 100


@pytest.mark.parametrize(
    ("ingress", "expected"),
    [
        ({}, (2048 - 512) // 2),
        ({"replicasPerPod": 2, "scale": {"num_cpus": 0.5}}, (2048 - 512) // 4),
        ({"resources": {"limits": {"memory": "4Gi"}}, "objectStoreMemory": "1Gi"}, 1536),
    ],
)
def test_the_memory_for_bodies_follows_that_of_the_pod(
    helm4: Helm, ingress: Values, expected: int
) -> None:
    """All replicas of a pod together take less than it has beside its object store."""
    values: Values = {"stages": {"ingress": ingress}}
    document = serve_config(helm4.template(values, files=[VARIANTS["defaults"]]))
    (application,) = ServeDeploySchema.model_validate(document).applications
    limits = AppArgs.model_validate(application.args).limits
    assert limits.body_memory_bytes == expected * 2**20
    assert limits.max_body_bytes * JSON_FACTOR <= limits.body_memory_bytes


@pytest.mark.parametrize(
    ("decode", "expected"),
    [
        ({}, (3072 - 1024) // 2),
        ({"resources": {"limits": {"memory": "5Gi"}}}, (5120 - 1024) // 2),
        (
            {
                "replicasPerPod": 2,
                "scale": {"num_cpus": 0.5},
                "resources": {"limits": {"memory": "5Gi"}},
            },
            (5120 - 1024) // 4,
        ),
    ],
)
def test_the_memory_for_photos_follows_that_of_the_pod(
    helm4: Helm, decode: Values, expected: int
) -> None:
    """And the largest photo finds room in it."""
    values: Values = {"stages": {"decode": decode}}
    document = serve_config(helm4.template(values, files=[VARIANTS["defaults"]]))
    (application,) = ServeDeploySchema.model_validate(document).applications
    args = AppArgs.model_validate(application.args)
    assert args.decode.memory_bytes == expected * 2**20
    largest = memory.of_largest(args.decode.max_pixels, args.limits.max_image_bytes)
    assert largest <= args.decode.memory_bytes


@pytest.mark.parametrize(
    ("match", "people", "expected"),
    [
        ({}, None, 3072 - 256 - 512 - 768),
        ({"resources": {"limits": {"memory": "5Gi"}}}, 2_000_000, 5120 - 256 - 512 - 768),
        (
            {
                "replicasPerPod": 2,
                "scale": {"num_cpus": 0.5},
                "resources": {"limits": {"memory": "6Gi"}},
            },
            None,
            (6144 - 256 - 512) // 2 - 768,
        ),
    ],
)
def test_the_memory_for_galleries_follows_that_of_the_pod(
    helm4: Helm, match: Values, people: int | None, expected: int
) -> None:
    """And the largest collection finds room in it."""
    settings: Values = {} if people is None else {"match": {"max_people": people}}
    maintenance: Values = {"resources": {"limits": {"memory": "3Gi"}}}
    values: Values = {
        "stages": {"match": match},
        "settings": settings,
        "maintenance": maintenance,
    }
    document = serve_config(helm4.template(values, files=[VARIANTS["defaults"]]))
    (application,) = ServeDeploySchema.model_validate(document).applications
    args = AppArgs.model_validate(application.args)
    assert args.match.memory_bytes == expected * 2**20
    assert args.match.max_people * 1600 <= args.match.memory_bytes


@pytest.mark.parametrize("each", [1, 2])
def test_vectors_on_disk_have_a_folder_of_their_own_in_the_matchers(helm4: Helm, each: int) -> None:
    """A quarter larger than what the matchers may take, and counted in the pod's resources."""
    most = 2**32
    resources = {"memory": "6Gi", "ephemeral-storage": "1Gi"}
    values: Values = {
        "settings": {"match": {"vectors": "disk", "vectors_bytes": most, "max_people": 3_000_000}},
        "maintenance": {"resources": {"limits": {"memory": "4Gi"}}},
        "stages": {
            "match": {
                "replicasPerPod": each,
                "scale": {"num_cpus": 0.5},
                "resources": {"requests": {"ephemeral-storage": "512Mi"}, "limits": resources},
            }
        },
    }
    objects = helm4.template(values, files=[VARIANTS["defaults"]])
    (application,) = ServeDeploySchema.model_validate(serve_config(objects)).applications
    match = AppArgs.model_validate(application.args).match
    assert (match.vectors, match.vectors_bytes) == ("disk", most)
    size = each * most * 5 // 4
    for group in only(objects, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]:
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        volumes = {v["name"]: v for v in spec["volumes"]}
        mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
        if group["groupName"] != "match":
            assert "vectors" not in volumes
            continue
        assert mounts["vectors"] == match.vectors_folder
        assert volumes["vectors"] == {
            "name": "vectors",
            "emptyDir": {"sizeLimit": f"{size // 2**30}Gi"},
        }
        assert container["resources"]["requests"]["ephemeral-storage"] == f"{size // 2**20 + 512}Mi"
        assert container["resources"]["limits"]["ephemeral-storage"] == f"{size // 2**30 + 1}Gi"
        assert volumes["tmp"]["emptyDir"] == {"sizeLimit": "1Gi"}


@pytest.mark.parametrize("settings", [{}, {"decode": {"max_pixels": 10**6}}])
def test_the_chart_counts_the_largest_photo_as_the_service_does(
    helm4: Helm, settings: Values
) -> None:
    """A pod in which it just fits is taken, and one with a little less is refused."""
    args = AppArgs.model_validate(settings)
    largest = memory.of_largest(args.decode.max_pixels, args.limits.max_image_bytes)
    for more, refused in ((0, False), (-2, True)):
        limit = str(2**30 + 2 * largest + more)
        sizes: Values = {
            "resources": {"requests": {"memory": limit}, "limits": {"memory": limit}},
            "objectStoreMemory": "1Gi",
        }
        values: Values = {"settings": settings, "stages": {"decode": sizes}}
        if refused:
            with pytest.raises(HelmError, match="may take while it is decoded"):
                helm4.template(values, files=[VARIANTS["defaults"]])
        else:
            helm4.template(values, files=[VARIANTS["defaults"]])
