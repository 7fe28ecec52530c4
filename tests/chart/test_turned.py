"""One knob at a time: which objects it changes, to what, and which it leaves alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.keys import Scope, parse
from serving.stack import config
from serving.stack import serve as local
from tests.support.chart.helm import NAMESPACE, RELEASE, Helm, Object, Values
from tests.support.chart.objects import (
    app_args,
    by_name,
    deployments,
    of_kind,
    only,
    pods,
    serve_config,
    walk,
)
from tests.support.chart.values import VARIANTS

N = f"{RELEASE}-facenet-serving"
RAY, TRITON, CONFIG = f"RayService/{N}", f"InferenceService/{N}", f"ConfigMap/{N}-serve"
CRON, TEST, PUBLISH = f"CronJob/{N}-maintenance", f"Pod/{N}-test", f"Job/{N}-publish"
RULES = f"PrometheusRule/{N}"
KEYS = f"Secret/{N}-keys"
HASHED = {"name": "kiosk", "hash": f"sha256:{'7' * 64}", "scopes": ["identify"], "rate": 0.5}
POD_OBJECTS = {RAY, TRITON, CRON, TEST, PUBLISH}
SERVED = {RAY, CONFIG}  # whatever is in the serveConfigV2 document

_CLUSTER = "spec.rayClusterConfig"
_HEAD = f"{_CLUSTER}.headGroupSpec.template.spec"
_GROUPS = f"{_CLUSTER}.workerGroupSpecs"
_DETECT = f"{_GROUPS}.detect"
_INGRESS = f"{_GROUPS}.ingress.template.spec"
_SERVE = "spec.serveConfigV2"
_ARGS = f"{_SERVE}.applications.0.args"
_OPTIONS = f"{_SERVE}.applications.0.deployments"
_MODEL = "spec.predictor.model"


def policy(name: str) -> str:
    return f"NetworkPolicy/{N}-{name}"


def budget(name: str) -> str:
    return f"PodDisruptionBudget/{N}-{name}"


def account(name: str) -> str:
    return f"ServiceAccount/{N}-{name}"


@dataclass(frozen=True)
class Knob:
    """What is turned.

    Attributes:
        changed: every object that is not as it was before, those that come or go among them.
        then: (object, path in it) -> what is there; `None` when nothing is.
    """

    values: Values
    changed: set[str]
    then: dict[tuple[str, str], Any] = field(default_factory=dict)
    variant: str = "defaults"


KNOBS = {
    "image.tag": Knob(
        {"image": {"tag": "9.9"}},
        {RAY, TRITON, CRON, TEST, PUBLISH},  # Triton's has an init container of it
        {
            (RAY, f"{_HEAD}.containers.0.image"): "facenet-serving:9.9",
            (RAY, f"{_DETECT}.template.spec.containers.0.image"): "facenet-serving:9.9",
            (TEST, "spec.containers.0.image"): "facenet-serving:9.9",
        },
    ),
    "image.digest before the tag": Knob(
        {"image": {"tag": "9.9", "digest": f"sha256:{'a' * 64}"}},
        {RAY, TRITON, CRON, TEST, PUBLISH},  # Triton's has an init container of it
        {(TEST, "spec.containers.0.image"): f"facenet-serving@sha256:{'a' * 64}"},
    ),
    "imagePullSecrets": Knob(
        {"imagePullSecrets": ["registry"]},
        POD_OBJECTS,
        {
            (RAY, f"{_HEAD}.imagePullSecrets"): [{"name": "registry"}],
            (TRITON, "spec.predictor.imagePullSecrets"): [{"name": "registry"}],
        },
    ),
    "pod.nodeSelector": Knob(
        {"pod": {"nodeSelector": {"disk": "ssd"}}},
        POD_OBJECTS,
        {
            (RAY, f"{_HEAD}.nodeSelector.disk"): "ssd",
            (RAY, f"{_DETECT}.template.spec.nodeSelector.disk"): "ssd",
            (TRITON, "spec.predictor.nodeSelector.disk"): "ssd",
            (CRON, "spec.jobTemplate.spec.template.spec.nodeSelector.disk"): "ssd",
            (TEST, "spec.nodeSelector.disk"): "ssd",
        },
    ),
    "stages.detect.pod over pod": Knob(
        {
            "pod": {"nodeSelector": {"disk": "ssd", "zone": "a"}},
            "stages": {"detect": {"pod": {"nodeSelector": {"disk": "fast"}}}},
        },
        POD_OBJECTS,
        {
            (RAY, f"{_HEAD}.nodeSelector"): {"disk": "ssd", "zone": "a"},
            (RAY, f"{_DETECT}.template.spec.nodeSelector"): {"disk": "fast", "zone": "a"},
        },
    ),
    "pod.extraVolumes, added": Knob(
        {
            "pod": {"extraVolumes": [{"name": "all", "emptyDir": {"sizeLimit": "1Mi"}}]},
            "stages": {
                "detect": {
                    "pod": {"extraVolumes": [{"name": "own", "configMap": {"name": "own"}}]},
                }
            },
        },
        POD_OBJECTS,
        {
            (RAY, f"{_HEAD}.volumes.all"): {"name": "all", "emptyDir": {"sizeLimit": "1Mi"}},
            (RAY, f"{_HEAD}.volumes.own"): None,
            (RAY, f"{_DETECT}.template.spec.volumes.all.name"): "all",
            (RAY, f"{_DETECT}.template.spec.volumes.own.configMap.name"): "own",
        },
    ),
    "ray.head.pod.extraContainers": Knob(
        {"ray": {"head": {"pod": {"extraContainers": [{"name": "shipper", "image": "x:1"}]}}}},
        {RAY},
        {
            # KubeRay takes the first for Ray's own.
            (RAY, f"{_HEAD}.containers.0.name"): "ray-head",
            (RAY, f"{_HEAD}.containers.1"): {
                "name": "shipper",
                "image": "x:1",
                "resources": {},
            },
        },
    ),
    "ray.readinessProbe": Knob(
        {"ray": {"readinessProbe": {"periodSeconds": 7, "initialDelaySeconds": 3}}},
        {RAY},
        {
            (RAY, f"{_DETECT}.template.spec.containers.0.readinessProbe"): {
                "httpGet": {"path": "/-/healthz", "port": "serve"},
                "initialDelaySeconds": 3,
                "periodSeconds": 7,
                "timeoutSeconds": 5,
                "failureThreshold": 1,
            }
        },
    ),
    "annotations of what the operators read": Knob(
        {
            "ray": {"annotations": {"ray.io/initializing-timeout": "9m"}},
            "triton": {"annotations": {"serving.kserve.io/deploymentMode": "x", "a": "b"}},
        },
        {RAY, TRITON},
        {
            (RAY, "metadata.annotations"): {"ray.io/initializing-timeout": "9m"},
            (TRITON, "metadata.annotations"): {
                "serving.kserve.io/deploymentMode": "Standard",
                "serving.kserve.io/autoscalerClass": "hpa",
                "a": "b",
            },
        },
    ),
    "podSecurityContext": Knob(
        {"podSecurityContext": {"runAsUser": 2000}},
        POD_OBJECTS,
        {
            (RAY, f"{_HEAD}.securityContext.runAsUser"): 2000,
            (RAY, f"{_HEAD}.securityContext.runAsNonRoot"): True,
        },
    ),
    "auth.existingSecret": Knob(
        {"auth": {"existingSecret": "others", "key": "callers.yaml"}},
        {RAY},
        {
            (RAY, f"{_INGRESS}.volumes.3.secret"): {
                "secretName": "others",
                "items": [{"key": "callers.yaml", "path": "keys.yaml"}],
            },
        },
    ),
    "audit.existingSecret": Knob(
        {"audit": {"existingSecret": "audit", "key": "secret"}},
        {RAY},
        {
            (RAY, f"{_INGRESS}.containers.0.env.FACES_AUDIT_KEY"): {
                "name": "FACES_AUDIT_KEY",
                "valueFrom": {"secretKeyRef": {"name": "audit", "key": "secret"}},
            },
        },
    ),
    "settings.audit.objects": Knob(
        {"settings": {"audit": {"objects": {"enabled": True, "retention_days": 200}}}},
        {*SERVED, CRON},
        {
            (RAY, f"{_ARGS}.audit.objects"): {"enabled": True, "retention_days": 200},
            (CRON, "spec.jobTemplate.spec.template.spec.containers.1.command"): [
                "faces",
                "audit",
                "expire",
            ],
        },
    ),
    "settings.events": Knob(
        {
            "settings": {"events": {"url": "https://hooks.example.com:8443/faces"}},
            "events": {
                "existingSecret": "webhook",
                "key": "secret",
                "caBundle": {"configMap": "webhook-ca", "key": "authorities.pem"},
            },
        },
        {*SERVED, policy("events")},
        {
            (RAY, f"{_ARGS}.events"): {
                "url": "https://hooks.example.com:8443/faces",
                "key_file": "/etc/faces/events/keys",
                "ca_file": "/etc/faces/events-ca/ca.crt",
            },
            (RAY, f"{_INGRESS}.volumes.4.secret"): {
                "secretName": "webhook",
                "items": [{"key": "secret", "path": "keys"}],
            },
            (RAY, f"{_INGRESS}.volumes.5.configMap"): {
                "name": "webhook-ca",
                "items": [{"key": "authorities.pem", "path": "ca.crt"}],
            },
            (policy("events"), "spec.egress.0.ports"): [{"port": 8443, "protocol": "TCP"}],
        },
    ),
    "batch.jobs": Knob(
        {
            "batch": {
                "jobs": [
                    {
                        "name": "photos",
                        "kind": "batch",
                        "source": "s3://photos",
                        "out": "s3://results",
                        "options": {"max-bytes": 10_000_000, "threshold": 0.25},
                        "keySecret": {"name": "batch-key"},
                    }
                ],
                "waitSeconds": 60,
                "backoffLimit": 3,
            },
            "serviceAccount": {"roles": {"batch": {"eks.amazonaws.com/role-arn": "photos"}}},
        },
        {f"Job/{N}-photos", account("batch"), policy("batch"), policy("http")},
        {
            (f"Job/{N}-photos", "spec.backoffLimit"): 3,
            (f"Job/{N}-photos", "spec.activeDeadlineSeconds"): None,
            (f"Job/{N}-photos", "spec.template.spec.serviceAccountName"): f"{N}-batch",
            (f"Job/{N}-photos", "spec.template.spec.containers.0.command"): [
                *("faces", "batch", "s3://photos", "--out", "s3://results"),
                *("--url", f"http://{N}-serve-svc.{NAMESPACE}.svc:8000", "--errors-are-results"),
                *("--wait", "60", "--region", "us-east-1"),
                *("--max-bytes=10000000", "--threshold=0.25"),
            ],
            (f"Job/{N}-photos", "spec.template.spec.containers.0.env.FACES_KEY.valueFrom"): {
                "secretKeyRef": {"name": "batch-key", "key": "key"}
            },
            (account("batch"), "metadata.annotations"): {"eks.amazonaws.com/role-arn": "photos"},
        },
    ),
    "settings.retention": Knob(
        {"settings": {"retention": {"collections": {"shop": 365}}}},
        SERVED,
        {(RAY, f"{_ARGS}.retention"): {"collections": {"shop": 365}}},
    ),
    "auth.keys": Knob(
        {"auth": {"existingSecret": "", "keys": [HASHED]}},
        {RAY, KEYS},
        {
            (RAY, f"{_INGRESS}.volumes.3.secret.secretName"): f"{N}-keys",
            (KEYS, "stringData.keys..yaml.keys"): [HASHED],
        },
    ),
    "auth.enabled": Knob(
        {"auth": {"enabled": False}},
        {*SERVED, TEST},
        {
            (RAY, f"{_ARGS}.keys"): None,
            (RAY, f"{_INGRESS}.volumes.3"): None,
            (TEST, "spec.containers.0.command.6"): "open",
        },
    ),
    "test.keySecret": Knob(
        {"test": {"keySecret": {"name": "admin", "key": "token"}}},
        {TEST},
        {
            (TEST, "spec.containers.0.env.FACES_KEY.valueFrom.secretKeyRef"): {
                "name": "admin",
                "key": "token",
            },
        },
    ),
    "s3.bucket": Knob(
        {"s3": {"bucket": "other"}},
        {*SERVED, TRITON, PUBLISH},
        {
            (PUBLISH, "spec.template.spec.containers.0.command.4"): (
                "s3://other/models/facenet-casia-webface-openvino"
            ),
            (RAY, f"{_ARGS}.gallery.bucket"): "other",
            (CONFIG, "data.serve..yaml.applications.0.args.gallery.bucket"): "other",
            (TRITON, f"{_MODEL}.storageUri"): "s3://other/models/facenet-casia-webface-openvino/",
        },
    ),
    "s3.prefix": Knob(
        {"s3": {"prefix": "people"}}, SERVED, {(RAY, f"{_ARGS}.gallery.prefix"): "people"}
    ),
    "s3.endpoint": Knob(
        {"s3": {"endpoint": "http://s3.example.com:9000"}},
        {*SERVED, TRITON, PUBLISH, policy("gallery"), policy("jobs"), policy("triton")},
        {
            (RAY, f"{_ARGS}.gallery.endpoint"): "http://s3.example.com:9000",
            (policy("gallery"), "spec.egress.0.ports.0.port"): 9000,
        },
    ),
    "s3.secrets": Knob(
        {"s3": {"secrets": {"gallery": "for-galleries", "jobs": "for-jobs"}}},
        {RAY, CRON, PUBLISH},
        {
            (RAY, f"{_INGRESS}.containers.0.env.AWS_ACCESS_KEY_ID.valueFrom.secretKeyRef.name"): (
                "for-galleries"
            ),
            (PUBLISH, "spec.template.spec.containers.0.env.AWS_ACCESS_KEY_ID.valueFrom"): {
                "secretKeyRef": {"name": "for-jobs", "key": "AWS_ACCESS_KEY_ID"}
            },
        },
    ),
    "serviceAccount.roles": Knob(
        {
            "serviceAccount": {
                "annotations": {"role": "all", "note": "x"},
                "roles": {"triton": {"role": "models"}, "jobs": {"role": "both"}},
            }
        },
        {account("gallery"), account("jobs"), account("triton")},
        {
            (account("gallery"), "metadata.annotations"): {"role": "all", "note": "x"},
            (account("jobs"), "metadata.annotations"): {"role": "both", "note": "x"},
            (account("triton"), "metadata.annotations"): {"role": "models", "note": "x"},
        },
    ),
    "model.name": Knob(
        {"model": {"name": "sface"}},
        {*SERVED, TRITON, PUBLISH},
        {
            (RAY, f"{_ARGS}.triton.model"): "sface",
            (TRITON, f"{_MODEL}.storageUri"): "s3://faces/models/sface/",
            (TRITON, f"{_MODEL}.readinessProbe.httpGet.path"): "/v2/models/sface/ready",
        },
    ),
    "model.publish.enabled": Knob(
        {"model": {"publish": {"enabled": False}}},
        {PUBLISH},
        {(PUBLISH, "kind"): None},
    ),
    "settings": Knob(
        {"settings": {"limits": {"max_faces": 7}, "match": {"threshold": 0.6}}},
        SERVED,
        {
            (RAY, f"{_ARGS}.limits.max_faces"): 7,
            (RAY, f"{_ARGS}.match.threshold"): 0.6,
        },
    ),
    "serve.logging": Knob(
        {"serve": {"logging": {"level": "DEBUG", "accessLog": True}}},
        SERVED,
        {
            (RAY, f"{_SERVE}.logging_config.log_level"): "DEBUG",
            (RAY, f"{_SERVE}.logging_config.enable_access_log"): True,
        },
    ),
    "serve.maxSurgePercent": Knob(
        {"serve": {"maxSurgePercent": 0}},
        SERVED,
        {(RAY, f"{_OPTIONS}.match.max_surge_percent"): 0},
    ),
    "stages.detect.scale.max_replicas": Knob(
        {"stages": {"detect": {"scale": {"max_replicas": 8}}}},
        SERVED,
        {
            (RAY, f"{_OPTIONS}.detect.autoscaling_config.max_replicas"): 8,
            (RAY, f"{_DETECT}.maxReplicas"): 9,
            (RAY, f"{_DETECT}.minReplicas"): 1,
        },
    ),
    "stages.detect.scale.min_replicas": Knob(
        {"stages": {"detect": {"scale": {"min_replicas": 3}}}},
        {*SERVED, budget("detect")},
        {
            (RAY, f"{_OPTIONS}.detect.autoscaling_config.min_replicas"): 3,
            (RAY, f"{_DETECT}.minReplicas"): 3,
            (RAY, f"{_DETECT}.replicas"): 3,
            (budget("detect"), "spec.minAvailable"): 2,
        },
    ),
    "stages.detect.replicasPerPod": Knob(
        {"stages": {"detect": {"replicasPerPod": 2, "resources": {"requests": {"cpu": "4"}}}}},
        {RAY},
        {
            (RAY, f"{_DETECT}.maxReplicas"): 3,
            (RAY, f"{_DETECT}.rayStartParams.resources"): "'{\"detect\": 2}'",
            (RAY, f"{_DETECT}.template.spec.containers.0.resources.requests.cpu"): "4",
        },
    ),
    "stages.detect.group": Knob(
        {"stages": {"detect": {"group": {"minReplicas": 2, "maxReplicas": 9}}}},
        {RAY},
        {(RAY, f"{_DETECT}.minReplicas"): 2, (RAY, f"{_DETECT}.maxReplicas"): 9},
    ),
    "ray.autoscaler.enabled": Knob(
        {"ray": {"autoscaler": {"enabled": False}}},
        {RAY, policy("head")},
        {
            (RAY, f"{_CLUSTER}.enableInTreeAutoscaling"): False,
            (RAY, f"{_CLUSTER}.autoscalerOptions"): None,
            (RAY, f"{_DETECT}.replicas"): 5,
            (policy("head"), "spec.egress"): None,
        },
    ),
    "triton.autoscaling": Knob(
        {"triton": {"autoscaling": {"minReplicas": 2, "maxReplicas": 6, "scaleTarget": 60}}},
        {TRITON},
        {
            (TRITON, "spec.predictor.minReplicas"): 2,
            (TRITON, "spec.predictor.maxReplicas"): 6,
            (TRITON, "spec.predictor.scaleTarget"): 60,
        },
    ),
    "triton.autoscaling.class": Knob(
        {"triton": {"autoscaling": {"class": "external"}}},
        {TRITON},
        {
            (TRITON, "metadata.annotations.serving..kserve..io/autoscalerClass"): "external",
            (TRITON, "spec.predictor.scaleTarget"): None,
        },
    ),
    "triton.gpu": Knob(
        {"triton": {"gpu": {"count": 2, "resource": "nvidia.com/mig-1g.5gb"}}},
        # On a GPU the model is TorchScript.
        {*SERVED, TRITON, PUBLISH},
        {
            (TRITON, f"{_MODEL}.resources.limits.nvidia..com/mig-1g..5gb"): "2",
            (RAY, f"{_ARGS}.triton.model"): "facenet-casia-webface",
            (TRITON, f"{_MODEL}.storageUri"): "s3://faces/models/facenet-casia-webface/",
        },
    ),
    "triton.image": Knob(
        {"triton": {"image": "tritonserver:1"}},
        {TRITON},
        {(TRITON, f"{_MODEL}.image"): "tritonserver:1", (TRITON, f"{_MODEL}.runtimeVersion"): None},
    ),
    "triton.deploymentStrategy": Knob(
        {"triton": {"deploymentStrategy": {"rollingUpdate": {"maxSurge": 0}}}},
        {TRITON},
        {(TRITON, "spec.predictor.deploymentStrategy"): {"rollingUpdate": {"maxSurge": 0}}},
    ),
    "model.wait.enabled": Knob(
        {"model": {"wait": {"enabled": False}}},
        {TRITON},
        {(TRITON, "spec.predictor.initContainers"): None},
    ),
    "triton.url": Knob(
        {"triton": {"create": False, "url": "https://triton.example.com"}},
        {
            *SERVED,
            TEST,
            TRITON,
            account("triton"),
            policy("triton"),
            policy("gallery"),
            budget("triton"),
        },
        {
            (RAY, f"{_ARGS}.triton.url"): "https://triton.example.com",
            (TRITON, "kind"): None,
        },
    ),
    "maintenance.schedule": Knob(
        {"maintenance": {"schedule": "5 4 * * *", "graceHours": 48}},
        {CRON},
        {(CRON, "spec.schedule"): "5 4 * * *"},
    ),
    "maintenance.enabled": Knob({"maintenance": {"enabled": False}}, {CRON, CONFIG}),
    "no Job at all": Knob(
        {"maintenance": {"enabled": False}, "model": {"publish": {"enabled": False}}},
        {CRON, CONFIG, PUBLISH, policy("jobs"), account("jobs")},
    ),
    "minio.enabled": Knob(
        {"minio": {"enabled": True}},
        {
            *SERVED,
            TRITON,
            PUBLISH,
            *map(policy, ("gallery", "jobs", "triton", "minio")),
            account("minio"),
            f"Service/{N}-minio",
            f"StatefulSet/{N}-minio",
            f"Job/{N}-bucket",
        },
        {
            (RAY, f"{_ARGS}.gallery.endpoint"): f"http://{N}-minio.vision.svc:9000",
        },
    ),
    "ingress": Knob(
        {"ingress": {"enabled": True, "hosts": ["a.example", "b.example"]}},
        {f"Ingress/{N}"},
        {
            (f"Ingress/{N}", "spec.ingressClassName"): None,
            (f"Ingress/{N}", "spec.rules.1.host"): "b.example",
            (f"Ingress/{N}", "spec.rules.1.http.paths.0.backend.service.name"): f"{N}-serve-svc",
        },
    ),
    "httpRoute": Knob(
        {"httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]}},
        {f"HTTPRoute/{N}"},
        {(f"HTTPRoute/{N}", "spec.parentRefs"): [{"name": "gateway"}]},
    ),
    "networkPolicy.enabled": Knob(
        {"networkPolicy": {"enabled": False}},
        {TEST, *map(policy, ("ray", "head", "http", "gallery", "jobs", "test", "triton"))},
    ),
    "networkPolicy.httpFrom": Knob(
        {"networkPolicy": {"httpFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}}, {policy("http")}
    ),
    "networkPolicy.prometheusFrom": Knob(
        {"networkPolicy": {"prometheusFrom": []}}, {policy("ray"), policy("triton")}
    ),
    "networkPolicy.operatorFrom": Knob(
        {"networkPolicy": {"operatorFrom": [{"namespaceSelector": {}}]}}, {policy("head")}
    ),
    "settings.tracing.endpoint": Knob(
        {"settings": {"tracing": {"endpoint": "http://collector:4318"}}},
        {*SERVED, policy("tracing")},
        {
            (RAY, f"{_ARGS}.tracing.endpoint"): "http://collector:4318",
            (policy("tracing"), "spec.egress.0.ports"): [{"port": 4318, "protocol": "TCP"}],
        },
    ),
    "monitoring.alerts.runbookBase": Knob(
        {"monitoring": {"alerts": {"runbookBase": "https://git.example.com/"}}},
        {RULES},
        {
            (RULES, "spec.groups.0.rules.0.annotations.runbook_url"): (
                "https://git.example.com/k8s/RUNBOOK.md#facesdown"
            )
        },
        "everything",
    ),
    "monitoring.alerts": Knob(
        {"monitoring": {"alerts": {"enabled": True}}},
        {RULES},
        {
            (RULES, "spec.groups.0.rules.0.annotations.runbook_url"): "k8s/RUNBOOK.md#facesdown",
        },
    ),
    "monitoring.podMonitors": Knob(
        {"monitoring": {"podMonitors": {"enabled": True, "labels": {"release": "p"}}}},
        {f"PodMonitor/{N}-ray", f"PodMonitor/{N}-triton"},
        {(f"PodMonitor/{N}-ray", "metadata.labels.release"): "p"},
    ),
    "ray.gcsFaultTolerance": Knob(
        {
            "ray": {
                "gcsFaultTolerance": {
                    "enabled": True,
                    "redisAddress": "redis:6380",
                    "existingSecret": "redis",
                }
            }
        },
        {RAY, policy("head")},
        {
            (RAY, f"{_CLUSTER}.gcsFaultToleranceOptions.redisAddress"): "redis:6380",
            (policy("head"), "spec.egress.1.ports.0.port"): 6380,
        },
    ),
    "ray.tokenAuth": Knob(
        {"ray": {"tokenAuth": {"enabled": False}}},
        {RAY},
        {(RAY, f"{_CLUSTER}.authOptions"): None},
    ),
    "ray.tokenAuth.existingSecret": Knob(
        {"ray": {"tokenAuth": {"existingSecret": "ray-token"}}},
        {RAY},
        {(RAY, f"{_CLUSTER}.authOptions.secretName"): "ray-token"},
    ),
    # Helm reads numbers as floats: all digits must be there.
    "test.personId": Knob(
        {"test": {"personId": 9007199254740989}},
        {TEST},
        {(TEST, "spec.containers.0.command.4"): "9007199254740989"},
    ),
}


@pytest.mark.parametrize("name", KNOBS)
def test_it_changes_what_it_names(helm4: Helm, name: str) -> None:
    knob = KNOBS[name]
    before = plain(helm4.template(files=[VARIANTS[knob.variant]]))
    after = plain(helm4.template(knob.values, files=[VARIANTS[knob.variant]]))
    changed = {each for each in before | after if before.get(each) != after.get(each)}
    assert changed == knob.changed
    for (each, path), expected in knob.then.items():
        assert look(after.get(each), path) == expected, f"{each} {path}"


def plain(objects: Sequence[Object]) -> dict[str, Object]:
    """By name, without the part of a Job's name that changes with the Job."""
    return {re.sub("-[0-9a-f]{8}$", "", name): item for name, item in by_name(objects).items()}


def look(item: Any, path: str) -> Any:
    """What is at a path; dots in a key are doubled, and documents in a string are read."""
    for step in (part.replace("\0", ".") for part in path.replace("..", "\0").split(".")):
        if isinstance(item, str):
            item = yaml.safe_load(item)
        if isinstance(item, list) and not step.isdigit():
            item = {each.get("groupName") or each["name"]: each for each in item}
        if isinstance(item, list):
            item = item[int(step)] if int(step) < len(item) else None
        else:
            item = (item or {}).get(step)
    return item


def test_common_labels_are_on_all_objects_and_on_no_pod(helm4: Helm) -> None:
    """A label more must not replace the pods."""
    for variant in VARIANTS:
        before = helm4.template({"commonLabels": None}, files=[VARIANTS[variant]])
        after = helm4.template({"commonLabels": {"team": "new"}}, files=[VARIANTS[variant]])
        for item in after:
            if item["kind"] not in ("Pod", "InferenceService"):
                assert item["metadata"]["labels"]["team"] == "new"
        assert [pod.labels for pod in pods(before)] == [pod.labels for pod in pods(after)]


def test_every_stage_has_pods_of_its_own(helm4: Helm) -> None:
    (service,) = of_kind(helm4.template(files=[VARIANTS["everything"]]), "RayService")
    groups = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    options = deployments([service])
    assert {group["groupName"] for group in groups} == set(options)
    for group in groups:
        stage = group["groupName"]
        assert stage in group["rayStartParams"]["resources"]
        assert options[stage]["ray_actor_options"]["resources"] == {stage: 1}


@pytest.mark.parametrize(("replicas", "each", "pods"), [(1, 1, 2), (4, 1, 5), (4, 2, 3), (5, 2, 4)])
def test_there_is_room_for_a_new_replica_before_an_old_one_goes(
    helm4: Helm, replicas: int, each: int, pods: int
) -> None:
    stage = {
        "scale": {"max_replicas": replicas, "num_cpus": 0.5},
        "replicasPerPod": each,
        "resources": {"limits": {"memory": "6Gi"}},  # room for the largest photo in each replica
    }
    objects = helm4.template({"stages": {"decode": stage}}, files=[VARIANTS["defaults"]])
    assert look(only(objects, "RayService"), f"{_GROUPS}.decode.maxReplicas") == pods


def test_a_job_reads_photos_as_large_as_the_service_takes(helm4: Helm) -> None:
    job = {"name": "a", "kind": "enroll", "source": "s3://p", "out": "s3://r"}
    values = {
        "batch": {"jobs": [{**job, "keySecret": {"name": "key"}}]},
        "settings": {"limits": {"max_image_bytes": 1_048_576}},
    }
    objects = plain(helm4.template(values, files=[VARIANTS["defaults"]]))
    command = look(objects[f"Job/{N}-a"], "spec.template.spec.containers.0.command")
    assert "--max-bytes=1048576" in command


def test_a_drain_is_no_failure_of_a_job_that_goes_on(helm4: Helm) -> None:
    objects = plain(helm4.template(files=[VARIANTS["everything"]]))
    for name in ("photos-2026", "staff"):
        ignored, failed = look(objects[f"Job/{N}-{name}"], "spec.podFailurePolicy.rules")
        assert ignored["action"] == "Ignore"
        assert ignored["onPodConditions"] == [{"type": "DisruptionTarget"}]
        assert failed["onExitCodes"]["values"] == [2]


def test_no_object_is_empty(helm4: Helm) -> None:
    """An empty list or map where there should be something is a template's mistake."""
    for item in helm4.template(files=[VARIANTS["everything"]]):
        for path, value in walk(item):
            if path and value in ({}, [], None):
                # What KubeRay writes though it is empty is rendered likewise.
                known = ("emptyDir", "podSelector", "namespaceSelector", "scaleStrategy")
                assert path[-1] in known, (item["kind"], path)


def test_only_the_ingress_sees_the_keys(helm4: Helm) -> None:
    for variant in VARIANTS:
        objects = helm4.template(files=[VARIANTS[variant]])
        required = app_args(objects).get("keys", {}).get("required", False)
        file = app_args(objects).get("keys", {}).get("file", "")
        seen = {
            (pod.role, mount["mountPath"], mount["readOnly"], "subPath" in mount)
            for pod in pods(objects)
            for container in pod.containers
            for mount in container.get("volumeMounts", [])
            if mount["name"] == "api-keys"
        }
        # The folder: only there a changed Secret arrives.
        expected = {("ingress", file.removesuffix("/keys.yaml"), True, False)}
        assert seen == (expected if required else set()), variant
        assert required is (variant != "elsewhere")


def test_the_service_reads_the_keys_of_the_values(helm4: Helm) -> None:
    objects = helm4.template(files=[VARIANTS["everything"]])
    secret = next(s for s in of_kind(objects, "Secret") if s["metadata"]["name"] == f"{N}-keys")
    kiosk, hr = parse(secret["stringData"]["keys.yaml"])
    assert kiosk.may_use("visitors")
    assert not kiosk.may_use("default")
    assert kiosk.rate == 20
    assert kiosk.expires == datetime(2027, 1, 31, tzinfo=timezone.utc)
    assert hr.may(Scope.ENROL)


@pytest.mark.parametrize(
    ("stage", "kept"),
    [
        ({"scale": {"min_replicas": 3}}, 2),
        # A pod without a replica is never ready, so no drain may wait for it.
        ({"scale": {"min_replicas": 2}, "group": {"minReplicas": 4, "maxReplicas": 9}}, 1),
        (
            {
                "scale": {"min_replicas": 4, "num_cpus": 0.5},
                "replicasPerPod": 2,
                "resources": {"limits": {"memory": "6Gi"}},
            },
            1,
        ),
        ({"scale": {"min_replicas": 3}, "podDisruptionBudget": {"minAvailable": 1}}, 1),
        ({"scale": {"min_replicas": 1}}, None),
        ({"scale": {"min_replicas": 3}, "podDisruptionBudget": {"enabled": False}}, None),
    ],
)
@pytest.mark.parametrize("autoscaler", [True, False])
def test_a_drain_leaves_pods_with_a_replica(
    helm4: Helm, autoscaler: bool, stage: Values, kept: int | None
) -> None:
    stage = {"podDisruptionBudget": {}, **stage, "scale": {"max_replicas": 8, **stage["scale"]}}
    values = {"stages": {"decode": stage}, "ray": {"autoscaler": {"enabled": autoscaler}}}
    objects = by_name(helm4.template(values, files=[VARIANTS["defaults"]]))
    assert look(objects.get(budget("decode")), "spec.minAvailable") == kept


@pytest.mark.parametrize("variant", ["values-aws", "values-minio"])
def test_nodes_may_go_but_that_of_the_head(helm4: Helm, variant: str) -> None:
    """The cluster autoscaler keeps a node with a pod of a custom controller or an emptyDir."""
    objects = helm4.template(files=[VARIANTS[variant]])
    cluster = look(only(objects, "RayService"), _CLUSTER)
    annotation = "cluster-autoscaler.kubernetes.io/safe-to-evict"
    templates = [group["template"] for group in cluster["workerGroupSpecs"]]
    triton = look(only(objects, "InferenceService"), "spec.predictor.annotations")
    assert cluster["headGroupSpec"]["template"]["metadata"]["annotations"][annotation] == "false"
    assert {each["metadata"]["annotations"][annotation] for each in templates} == {"true"}
    assert triton[annotation] == "true"
    kept = [item["metadata"]["name"] for item in of_kind(objects, "PodDisruptionBudget")]
    assert len(kept) == len(templates) + 1


def test_the_pod_of_helm_test_stays_for_its_logs(helm4: Helm) -> None:
    """Helm reads them after all tests: https://github.com/helm/helm/issues/9098"""
    (pod,) = of_kind(helm4.template(files=[VARIANTS["defaults"]]), "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation"


def test_serve_runs_as_on_one_machine(helm4: Helm) -> None:
    """The same switches and the same log, but for places, ports and what only a cluster needs."""
    here = {
        name: value
        for name, value in local.environment(Path("scratch"), 18_000, {}, {}).items()
        if not re.search(
            "_PORT|HAPROXY_(?!TIMEOUT|TUNE)|_DRAINING_|_OSX_|_TMPDIR|no_proxy", name, re.I
        )
    }
    objects = helm4.template(files=[VARIANTS["defaults"]])
    for pod in pods([only(objects, "RayService")]):
        env = {each["name"]: each.get("value") for each in pod.spec["containers"][0]["env"]}
        assert here.items() <= env.items(), pod.name
    log, ours = (
        document["logging_config"]
        for document in (config.serve_config(config.StackSettings()), serve_config(objects))
    )
    assert ours == {key: value for key, value in log.items() if key != "logs_dir"}
