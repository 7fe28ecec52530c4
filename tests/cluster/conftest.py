"""One release of the chart, which all tests share, on the cluster that KUBECONFIG names.

The tests run in the order of `ORDER`, and each leaves the release serving. A test that fails shows
how the pods are.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import caller as callers
from tests.cluster.caller import Caller
from tests.cluster.cluster import (
    CALLERS,
    NAMESPACE,
    RELEASE,
    STRANGERS,
    Cluster,
    CommandError,
    Object,
    is_ready,
    kubeconfig,
    wait,
)

IMAGE = "FACES_IMAGE"
LOCAL_IMAGE = "localhost/facenet-serving:dev"
ORDER = (
    "test_machine.py",
    "test_alerts.py",
    "test_install.py",
    "test_people.py",
    "test_documents.py",
    "test_jobs.py",
    "test_flows.py",
    "test_helm.py",
    "test_scaling.py",
    "test_soak.py",
    "test_eviction.py",
    "test_trouble.py",
    "test_upgrade.py",
    "test_uninstall.py",
    "test_other.py",
)
# One test can wait for a second cluster beside the first, and for the first to go.
_TIMEOUT_S = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.path.parent == Path(__file__).parent]
    for item in ours:
        item.add_marker(pytest.mark.timeout(_TIMEOUT_S))
    ours.sort(key=lambda item: ORDER.index(item.path.name))
    places = [index for index, item in enumerate(items) if item in ours]
    for index, item in zip(places, ours, strict=True):
        items[index] = item


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and kubeconfig():
        report.sections.append(("the cluster", _state()))
    return report


@dataclass(frozen=True)
class Installation:
    """What `helm install --wait` said, and how long it took."""

    seconds: float
    output: str


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster, with namespaces for the release, for callers and for strangers."""
    if not kubeconfig():
        pytest.fail("KUBECONFIG names no cluster; run make cluster-test", pytrace=False)
    found = Cluster(os.environ.get(IMAGE, LOCAL_IMAGE))
    there = found.kubectl("get", "namespaces", "-o", "name").split()
    if taken := {f"namespace/{name}" for name in (NAMESPACE, CALLERS, STRANGERS)}.intersection(
        there
    ):
        pytest.fail(f"{', '.join(taken)} is there; the tests make and remove it", pytrace=False)
    for name in (NAMESPACE, CALLERS, STRANGERS):
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        found.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": labels},
            }
        )
    yield found
    # First, or the pods would wait for a head that went before them.
    found.helm("uninstall", RELEASE, "--ignore-not-found")
    for name in (NAMESPACE, CALLERS, STRANGERS):
        found.kubectl("delete", "namespace", name, "--timeout=300s")


@pytest.fixture(scope="session")
def key(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An API key of the scope admin; the Secrets that k8s/values-kind.yaml names are there."""
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    faces = [str(Path(sys.executable).with_name("faces")), "key", "new", "tests"]
    command = [*faces, "--scope", "admin", "--file", str(file)]
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    s3 = {
        "AWS_ACCESS_KEY_ID": secrets.token_hex(10),
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
    }
    cluster.apply(
        secret("faces-s3", s3, endpoint=f"{RELEASE}-minio.{NAMESPACE}.svc:9000"),
        secret("faces-keys", {"keys.yaml": file.read_text()}),
        secret("faces-admin-key", {"key": made}),
    )
    return made


@pytest.fixture(scope="session")
def caller(cluster: Cluster, key: str) -> Caller:
    cluster.apply(callers.pod(callers.NAME, cluster.image, "80m"), namespace=CALLERS)
    cluster.apply(callers.pod("stranger", cluster.image, "10m"), namespace=STRANGERS)
    for namespace, name in ((CALLERS, callers.NAME), (STRANGERS, "stranger")):
        wait(name, 120, functools.partial(_pod_is_ready, cluster, namespace, name))
    return Caller(cluster, key, callers.service(cluster))


@pytest.fixture(scope="session")
def installation(cluster: Cluster, key: str) -> Installation:
    begin = time.monotonic()
    output = cluster.upgrade(install=True)
    return Installation(time.monotonic() - begin, output)


@pytest.fixture(scope="session")
def release(cluster: Cluster, installation: Installation, caller: Caller) -> Caller:
    """The installed release, by its caller; it is ready."""
    for kind in ("rayservice", "inferenceservice"):
        wait(f"the {kind}", 300, functools.partial(cluster.ready, kind))
    wait("/readyz", 60, lambda: caller.ask("GET", "/readyz")[0] == 200)
    return caller


def _pod_is_ready(cluster: Cluster, namespace: str, name: str) -> bool:
    return is_ready(cluster.get("pod", name, namespace=namespace))


def secret(name: str, data: dict[str, str], endpoint: str = "") -> Object:
    """A Secret; with the annotations by which KServe learns of an S3 server, where one is named."""
    annotations = {
        "serving.kserve.io/s3-endpoint": endpoint,
        "serving.kserve.io/s3-usehttps": "0",
        "serving.kserve.io/s3-usevirtualbucket": "0",
        "serving.kserve.io/s3-region": "us-east-1",
    }
    metadata = {"name": name, "annotations": annotations if endpoint else {}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def _state() -> str:
    cluster = Cluster("")
    shown = []
    for words in (
        ("get", "rayservice,raycluster,inferenceservice,pods", "-o", "wide"),
        ("get", "events", "--sort-by=.lastTimestamp"),
    ):
        try:
            lines = cluster.kubectl(*words, namespace=NAMESPACE).splitlines()
            shown.append("\n".join(lines[-40:]))
        except (CommandError, json.JSONDecodeError) as error:
            shown.append(str(error))
    return "\n\n".join(shown)
