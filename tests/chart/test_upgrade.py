"""What an upgrade of the release or of the chart replaces, and what it must not."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.chart.helm import CHART, Helm, Object, Values
from tests.support.chart.objects import by_name, only, pods
from tests.support.chart.values import VARIANTS

every_variant = pytest.mark.parametrize("variant", VARIANTS)


@every_variant
def test_an_upgrade_without_a_change_changes_nothing(helm4: Helm, variant: str) -> None:
    """No random keys, no dates, nothing that depends on whether it is an installation."""
    again = helm4.template(files=[VARIANTS[variant]], flags=["--is-upgrade"])
    assert by_name(again) == by_name(helm4.template(files=[VARIANTS[variant]]))


@every_variant
def test_a_new_chart_with_the_same_image_keeps_all_pods(
    helm4: Helm, variant: str, tmp_path: Path
) -> None:
    """A label with a version in a pod would replace the whole Ray cluster and Triton."""
    newer = Path(shutil.copytree(CHART, tmp_path / CHART.name))
    about = newer / "Chart.yaml"
    about.write_text(about.read_text().replace("ersion: 0.1.0", "ersion: 0.2.0"))
    about.write_text(about.read_text().replace('ersion: "0.1.0"', 'ersion: "0.2.0"'))
    values = {"image": {"tag": "0.1.0"}}
    before = helm4.template(values, files=[VARIANTS[variant]])
    after = helm4.template(values, files=[VARIANTS[variant]], chart=newer)
    assert before != after
    assert pods(before) == pods(after)
    assert only(before, "RayService")["spec"] == only(after, "RayService")["spec"]


# Serve takes them over in place: no pod of Ray is replaced.
IN_PLACE: dict[str, Values] = {
    "settings": {"settings": {"limits": {"max_faces": 7}}},
    "more replicas": {"stages": {"decode": {"scale": {"min_replicas": 2, "max_replicas": 7}}}},
    "requests at once": {"stages": {"match": {"scale": {"max_ongoing_requests": 7}}}},
    "delays": {"stages": {"match": {"scale": {"upscale_delay_s": 7, "downscale_delay_s": 8}}}},
    "a share of a core": {"stages": {"decode": {"scale": {"num_cpus": 0.5}}}},
    "the model": {"model": {"name": "facenet-vggface2"}},
    "the log": {"serve": {"logging": {"level": "DEBUG"}}},
    "more pods": {"stages": {"decode": {"group": {"maxReplicas": 7}}}},
}


@pytest.mark.parametrize("what", IN_PLACE)
def test_ray_keeps_its_pods(helm4: Helm, what: str) -> None:
    """KubeRay starts a new cluster for any change of it but of its numbers of replicas."""
    before = cluster(helm4.template(files=[VARIANTS["defaults"]]))
    after = cluster(helm4.template(IN_PLACE[what], files=[VARIANTS["defaults"]]))
    assert after == before


def test_another_api_key_changes_the_secret_only(helm4: Helm) -> None:
    key = {"name": "new", "hash": f"sha256:{'7' * 64}", "scopes": ["admin"]}
    before = by_name(helm4.template(files=[VARIANTS["everything"]]))
    after = by_name(helm4.template({"auth": {"keys": [key]}}, files=[VARIANTS["everything"]]))
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed == {"Secret/faces-facenet-serving-keys"}


def test_another_image_is_another_cluster(helm4: Helm) -> None:
    before = cluster(helm4.template(files=[VARIANTS["defaults"]]))
    after = cluster(helm4.template({"image": {"tag": "9"}}, files=[VARIANTS["defaults"]]))
    assert after != before


def test_another_image_leaves_the_only_gpu_alone(helm4: Helm) -> None:
    """Triton's pod would go before the next one is there."""
    files = [VARIANTS["values-gpu"]]
    before, after = (
        only(helm4.template({"image": {"tag": tag}}, files=files), "InferenceService")["spec"]
        for tag in ("8", "9")
    )
    assert before == after
    strategy = before["predictor"]["deploymentStrategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 0, "maxUnavailable": 1}
    assert "nodeSelector" not in before["predictor"]


def cluster(objects: tuple[Object, ...]) -> Any:
    config = copy.deepcopy(only(objects, "RayService")["spec"]["rayClusterConfig"])
    for group in config["workerGroupSpecs"]:
        for number in ("replicas", "minReplicas", "maxReplicas"):
            del group[number]
    return config


def test_what_cannot_be_changed_has_another_name(helm4: Helm) -> None:
    """A Job's pods are immutable: with the same name, the upgrade would fail."""
    for values in ({"image": {"tag": "9"}}, {"s3": {"bucket": "other"}}):
        before = by_name(helm4.template(files=[VARIANTS["everything"]]))
        after = by_name(helm4.template(values, files=[VARIANTS["everything"]]))
        for name in set(before) & set(after):
            if name.startswith("Job/"):
                assert before[name]["spec"] == after[name]["spec"]


def test_the_disk_of_minio_does_not_change(helm4: Helm) -> None:
    """Of a StatefulSet only a few fields may change; labels with a version are not among them."""
    before = only(helm4.template(files=[VARIANTS["everything"]]), "StatefulSet")["spec"]
    after = only(
        helm4.template({"commonLabels": {"new": "label"}}, files=[VARIANTS["everything"]]),
        "StatefulSet",
    )["spec"]
    for part in ("selector", "serviceName", "volumeClaimTemplates"):
        assert before[part] == after[part]
