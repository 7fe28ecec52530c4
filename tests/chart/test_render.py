"""Every variant of the values, and every values file for a cluster, with both versions of helm."""

from __future__ import annotations

import functools
import importlib.util
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from serving import __version__
from tests.chart.kserve_models import through_sdk, with_quantities_as_text
from tests.chart.rules import check
from tests.support.chart.helm import CHART, RELEASE, ROOT, Helm, Object, Values
from tests.support.chart.objects import by_name, matches, name_of, of_kind, pods, serve_config, walk
from tests.support.chart.values import FOR_CLUSTERS, VARIANTS, load, of_variant

KUBE = ROOT.parent / "shared" / "kube"
STAGES = {"ingress", "decode", "detect", "match"}
_WITHOUT_SCHEMA = ("cert-manager.io/",)

every_variant = pytest.mark.parametrize("variant", VARIANTS)


def named(variant: str) -> set[str]:
    """All that the values name: Secrets and ConfigMaps that the user brings are among it."""
    return {value for _, value in walk(of_variant(variant)) if isinstance(value, str) and value}


NAMED = named("defaults")


@every_variant
def test_lint(helm: Helm, variant: str) -> None:
    helm.lint(files=[VARIANTS[variant]])


@every_variant
def test_both_helms_render_the_same(helm: Helm, helm4: Helm, variant: str) -> None:
    rendered = helm.template(files=[VARIANTS[variant]])
    assert rendered
    assert by_name(rendered) == by_name(helm4.template(files=[VARIANTS[variant]]))


@every_variant
def test_the_rules_hold(helm4: Helm, variant: str) -> None:
    assert check(helm4.template(files=[VARIANTS[variant]]), named=named(variant)) == []


def test_values_in_any_form_are_written_as_kuberay_writes_them(helm: Helm) -> None:
    """Else the upgrade after that of KubeRay's finalizer is refused by Helm 4."""
    unusual = {
        "pod": {"extraEnv": [{"name": "EMPTY", "value": ""}]},
        "stages": {
            "decode": {
                "resources": {
                    "requests": {"cpu": 1.5, "memory": 3221225472},
                    "limits": {"cpu": "2000m", "memory": "3072Mi", "example.com/gpu": 2},
                }
            },
            "match": {
                "resources": {
                    "requests": {"cpu": 1, "memory": "0.5Gi"},
                    "limits": {"cpu": "2.50", "memory": "4000M"},
                },
            },
        },
        "ray": {"head": {"resources": {"limits": {"memory": "4096Mi"}}}},
    }
    assert check(helm.template(unusual, files=[VARIANTS["defaults"]]), named=NAMED) == []


@every_variant
def test_kserve_leaves_our_ingress_alone(helm4: Helm, variant: str) -> None:
    """It looks for an Ingress of the InferenceService's name, which ours is, but for this label."""
    for item in of_kind(helm4.template(files=[VARIANTS[variant]]), "InferenceService"):
        assert item["metadata"]["labels"]["networking.kserve.io/visibility"] == "cluster-local"


@pytest.mark.parametrize(
    "values",
    [
        {"triton": {"annotations": None, "args": None, "closedApis": None}},
        {"pod": {"extraVolumes": None, "extraContainers": None, "labels": None}},
        {"serviceAccount": {"annotations": None, "roles": None}, "s3": {"secrets": None}},
        {"networkPolicy": {"apiServerTo": None, "s3Ports": None, "extraEgressJobs": None}},
        {"maintenance": {"resources": {"limits": None}}, "ray": {"livenessProbe": None}},
    ],
    ids=str,
)
def test_a_value_that_is_taken_away_is_none(helm: Helm, values: Values) -> None:
    assert helm.template(values, files=[VARIANTS["defaults"]])


@every_variant
def test_the_domain_of_the_cluster_is_nobodys_guess(helm4: Helm, variant: str) -> None:
    """Names of Services end with .svc, which search paths complete; the user's own may not."""
    for item in helm4.template(files=[VARIANTS[variant]]):
        for path, text in walk(item):
            for name in re.findall(r"[\w.-]+\.cluster\.local", str(text)) if path else ():
                assert any(name in value for value in named(variant)), (name_of(item), name)


def test_a_long_release_name_and_another_namespace(helm4: Helm) -> None:
    """The longest name that helm allows makes names that Kubernetes allows, or a sentence."""
    objects = helm4.template(
        {"fullnameOverride": "f" * 40},
        files=[VARIANTS["everything"]],
        release="r" * 53,
        namespace="n",
    )
    assert check(objects, namespace="n", named=named("everything")) == []


@every_variant
def test_the_schemas_of_kubernetes_hold(helm4: Helm, variant: str) -> None:
    """With every field known, of every type and in every enum, as the API server would have it."""
    if not KUBE.is_dir():
        pytest.skip("the schemas of Kubernetes and of the operators are not beside the repository")
    faults = {
        name_of(item): found
        for item in helm4.template(files=[VARIANTS[variant]])
        if not item["apiVersion"].startswith(_WITHOUT_SCHEMA) and (found := _validate()(item))
    }
    assert faults == {}


@functools.cache
def _validate() -> Callable[[Object], list[str]]:
    spec = importlib.util.spec_from_file_location("kvalidate", KUBE / "kvalidate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files open
        validator = module.Validator(str(KUBE / "crds"), str(next(KUBE.glob("k8s-*.json"))))
    check: Callable[[Object], list[str]] = validator.check
    return check


@every_variant
def test_kserve_knows_every_field(helm4: Helm, variant: str) -> None:
    for item in of_kind(helm4.template(files=[VARIANTS[variant]]), "InferenceService"):
        written = with_quantities_as_text(item)
        assert through_sdk(written, "V1beta1InferenceService") == written


@pytest.mark.parametrize("field", ["predicter", "spec.predictor.model.protocol"])
def test_a_field_that_kserve_does_not_know(field: str) -> None:
    *way, last = field.split(".")
    holder: dict[str, Any] = {last: "x"}
    for step in reversed(way):
        holder = {step: holder}
    with pytest.raises(ValueError, match=f"has no {last}"):
        through_sdk(holder, "V1beta1InferenceService")


SELECTED = {
    **{f"PodDisruptionBudget/{{}}-{stage}": {stage} for stage in STAGES},
    "PodDisruptionBudget/{}-triton": {"triton"},
    "PodMonitor/{}-ray": STAGES | {"head"},
    "PodMonitor/{}-triton": {"triton"},
    "Service/{}-minio": {"minio"},
    "StatefulSet/{}-minio": {"minio"},
}


def test_selectors_select_the_pods_that_are_meant(helm4: Helm) -> None:
    """And none of another release beside it."""
    ours = helm4.template(files=[VARIANTS["everything"]])
    theirs = helm4.template(files=[VARIANTS["everything"]], release="beside")
    found = {}
    for item in of_kind(ours, *{name.partition("/")[0] for name in SELECTED}):
        selector = item["spec"]["selector"]
        if item["kind"] == "Service":
            selector = {"matchLabels": selector}
        assert [pod.name for pod in pods(theirs) if matches(selector, pod.labels)] == []
        found[name_of(item)] = {
            pod.labels["app.kubernetes.io/component"]
            for pod in pods(ours)
            if matches(selector, pod.labels)
        }
    assert found == {name.format(f"{RELEASE}-{CHART.name}"): pod for name, pod in SELECTED.items()}


def test_values_for_clusters_are_there() -> None:
    if (ROOT / "k8s").is_dir():
        assert FOR_CLUSTERS


def test_the_chart_is_of_this_version() -> None:
    chart = load(CHART / "Chart.yaml")
    assert chart["appVersion"] == __version__
    assert chart["name"] == CHART.name


@every_variant
def test_serve_starts_what_this_package_has(helm4: Helm, variant: str) -> None:
    document = serve_config(helm4.template(files=[VARIANTS[variant]]))
    (application,) = document["applications"]
    assert application["import_path"] == "serving.app:build"
    assert document["http_options"]["port"] == 8000


@pytest.mark.parametrize(
    ("release", "namespace"), [("y", "123"), ("true", "1e3"), ("null", "null"), ("off", "0x10")]
)
def test_names_that_yaml_takes_for_something_else_stay_text(
    helm: Helm, release: str, namespace: str
) -> None:
    values: dict[str, Any] = {
        "nameOverride": "on",
        "s3": {"existingSecret": "123", "accessKeyIdKey": "1", "secretAccessKeyKey": "2"},
        "auth": {"existingSecret": "1e3"},
        "fullnameOverride": "faces",
        "batch": {
            "jobs": [
                {
                    "name": "photos",
                    "kind": "batch",
                    "source": "s3://photos",
                    "out": "s3://results",
                    "keySecret": {"name": "77", "key": "0"},
                }
            ]
        },
        "test": {"keySecret": {"name": "88", "key": "true"}},
    }
    rendered = helm.template(values, release=release, namespace=namespace)
    assert {found["metadata"]["namespace"] for found in rendered} == {namespace}
    wrong = [
        (name_of(found), path, value)
        for found in rendered
        for path, value in walk(found)
        if not isinstance(value, str | dict | list)
        and (path[-1] in ("name", "namespace", "key") or {"labels", "matchLabels"} & {*path})
    ]
    assert wrong == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_annotations_of_all_objects_are_on_all_but_pods(helm4: Helm, variant: str) -> None:
    literal = {"example.com/a": "{{ .Release.Name }} $(HOME) #x", "example.com/b": " line\nline: y"}
    rendered = helm4.template({"commonAnnotations": literal}, files=[VARIANTS[variant]])
    without = {
        found["kind"]
        for found in rendered
        if not literal.items() <= found["metadata"].get("annotations", {}).items()
    }
    assert without <= {"Pod", "InferenceService"}
