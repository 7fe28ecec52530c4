"""The NetworkPolicies, enforced: who can connect to what, and who cannot."""

from __future__ import annotations

import pytest

from tests.cluster import caller as callers
from tests.cluster.caller import Caller, connections
from tests.cluster.cluster import CALLERS, NAMESPACE, STAGES, STRANGERS, Cluster

# Of each pod: HTTP, Ray's control store, dashboard, raylet's pages, metrics; Triton; MinIO.
HTTP, STORE, DASHBOARD, AGENT, METRICS = 8000, 6379, 8265, 52365, 8080
TRITON, TRITON_METRICS, S3 = 8080, 8002, 9000
RAY = ("head", *STAGES)

TARGETS = {
    **{f"{role} http": (role, HTTP) for role in STAGES},
    "head store": ("head", STORE),
    "head dashboard": ("head", DASHBOARD),
    **{f"{role} agent": (role, AGENT) for role in RAY},
    **{f"{role} metrics": (role, METRICS) for role in RAY},
    "triton http": ("triton", TRITON),
    "triton metrics": ("triton", TRITON_METRICS),
    "minio s3": ("minio", S3),
}
_HTTP = {f"{role} http" for role in STAGES}
_WITHIN_RAY = {name for name, (role, _) in TARGETS.items() if role in RAY}
# Whoever is not named here reaches nothing.
ALLOWED = {
    "caller": _HTTP,
    "stranger": set(),
    "head": _WITHIN_RAY,
    "decode": _WITHIN_RAY,
    "detect": _WITHIN_RAY,
    "ingress": _WITHIN_RAY | {"triton http", "minio s3"},
    "match": _WITHIN_RAY | {"triton http", "minio s3"},
    "triton": {"minio s3", "triton http", "triton metrics"},  # itself: no policy is asked
}


# Without the token and with it.
_ASKS_TWICE = """\
import os, sys, urllib.error, urllib.request
for headers in {}, {"x-ray-authorization": "Bearer " + os.environ["RAY_AUTH_TOKEN"]}:
    try:
        print(urllib.request.urlopen(urllib.request.Request(sys.argv[1], headers=headers)).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


@pytest.fixture(scope="module")
def addresses(cluster: Cluster, release: Caller) -> dict[str, str]:
    """The addresses of the pods by role, and of the API."""
    roles = {role: cluster.stage(role) for role in RAY}
    roles["triton"] = cluster.pods("serving.kserve.io/inferenceservice=faces")
    roles["minio"] = cluster.stage("minio")
    return {role: pods[0]["status"]["podIP"] for role, pods in roles.items()}


@pytest.mark.parametrize("source", ALLOWED)
def test_who_reaches_what(cluster: Cluster, addresses: dict[str, str], source: str) -> None:
    where = {name: f"{addresses[role]}:{port}" for name, (role, port) in TARGETS.items()}
    reached = connections(*_pod(cluster, source), list(where.values()))
    assert {name for name, address in where.items() if reached[address]} == ALLOWED[source]


@pytest.mark.parametrize("source", ["decode", "detect", "triton"])
def test_the_api_of_kubernetes_is_for_the_head_alone(cluster: Cluster, source: str) -> None:
    endpoints = cluster.get("endpoints", "kubernetes", namespace="default")["subsets"][0]
    api = f"{endpoints['addresses'][0]['ip']}:{endpoints['ports'][0]['port']}"
    assert connections(*_pod(cluster, "head"), [api]) == {api: True}
    assert connections(*_pod(cluster, source), [api]) == {api: False}


@pytest.mark.long
def test_the_dashboard_wants_the_token_of_the_cluster(
    cluster: Cluster, addresses: dict[str, str]
) -> None:
    """From Ray's own pods, too, whose containers have it."""
    url = f"http://{addresses['head']}:{DASHBOARD}/api/serve/applications/"
    namespace, pod, container = _pod(cluster, "decode")
    words = ("exec", pod, "-c", str(container), "--", "python", "-c", _ASKS_TWICE, url)
    assert cluster.kubectl(*words, namespace=namespace).split() == ["401", "200"]


def _pod(cluster: Cluster, source: str) -> tuple[str, str, str | None]:
    if source == "caller":
        return CALLERS, callers.NAME, None
    if source == "stranger":
        return STRANGERS, "stranger", None
    if source == "triton":
        (pod,) = cluster.pods("serving.kserve.io/inferenceservice=faces")
        return NAMESPACE, pod["metadata"]["name"], "kserve-container"
    (pod,) = cluster.stage(source)
    return NAMESPACE, pod["metadata"]["name"], "ray-head" if source == "head" else "ray-worker"
