"""What `helm uninstall` leaves, and who is enrolled after a new installation."""

from __future__ import annotations

import time

import pytest

from tests.cluster.caller import PHOTO, Caller
from tests.cluster.cluster import RELEASE, Cluster, names, wait

pytestmark = pytest.mark.long

_LONGEST_S = 60
_KINDS = (
    "pods,jobs,cronjobs,statefulsets,deployments,services,ingresses,networkpolicies,"
    "poddisruptionbudgets,serviceaccounts,configmaps,roles,rolebindings,"
    "horizontalpodautoscalers,rayservices,rayclusters,inferenceservices"
)
# What Kubernetes puts into every namespace, and the pod of `helm test`, which stays for its log.
_GIVEN = {"default", "kube-root-ca.crt", "faces-test"}
SECRETS = {"faces-s3", "faces-keys", "faces-admin-key"}


def test_only_the_volume_and_the_secrets_stay(cluster: Cluster, release: Caller) -> None:
    status, _ = release.ask("POST", "/generate", "id=2576", "images=@/app/data/2576/photo_01.jpg")
    assert status == 200
    begin = time.monotonic()
    cluster.helm("uninstall", RELEASE)
    wait("nothing left", _LONGEST_S, lambda: names(cluster.select(_KINDS)) <= _GIVEN)
    print(f"gone after {time.monotonic() - begin:.0f} s")
    assert names(cluster.select("persistentvolumeclaims")) == {f"data-{RELEASE}-minio-0"}
    secrets = {s["metadata"]["name"] for s in cluster.select("secrets")}
    assert secrets == SECRETS


def test_after_a_new_installation_people_are_there(cluster: Cluster, release: Caller) -> None:
    cluster.upgrade(install=True)
    wait("the RayService", 300, lambda: cluster.ready("rayservice"))
    wait("/readyz", 60, lambda: release.ask("GET", "/readyz")[0] == 200)
    status, answer = release.ask("POST", "/infer", f"image=@{PHOTO}")
    assert status == 200
    assert [face["id"] for face in answer["faces"]] == [2576]
