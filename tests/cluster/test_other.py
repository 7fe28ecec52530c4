"""Another release, which has what the first one has otherwise, all at once: names as long as the
chart lets them be, a quota, TLS and the token, a Redis, an S3 server behind another port, and an
autoscaler for Triton.
"""

from __future__ import annotations

import base64
import functools
import os
import secrets
import string
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import caller as callers
from tests.cluster.caller import PHOTO, Caller
from tests.cluster.cluster import CALLERS, VALUES, Cluster, Object, is_ready, names, wait
from tests.cluster.conftest import secret
from tests.cluster.documents import block, shell
from tests.support.chart.helm import CHART

pytestmark = pytest.mark.long

RELEASE = f"{'long-' * 5}facenet-serving"  # 40 characters
NAMESPACE = "faces-other"
REDIS_IMAGE = "FACES_REDIS_IMAGE"

_HERE = Path(__file__).parent / "other"
_PATIENCE_S = 300
_LONGEST_S = 300
_LOAD = ("/identities=4", f"/infer=1@{PHOTO}")
_TRITON = f"serving.kserve.io/inferenceservice={RELEASE}"
_HEAD = "ray.io/node-type=head"
_BUCKET = """\
import sys, boto3
address, user, password = sys.argv[1:]
keys = {"aws_access_key_id": user, "aws_secret_access_key": password}
client = boto3.client("s3", endpoint_url=address, region_name="us-east-1", **keys)
client.create_bucket(Bucket="faces")
"""


@pytest.fixture(scope="module")
def other(
    cluster: Cluster, caller: Caller, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Caller]:
    """The caller of the other release, which takes the first one's place."""
    cluster.helm("uninstall", cluster.release, "--ignore-not-found")
    made = Cluster(cluster.image, RELEASE, NAMESPACE, (*VALUES, _HERE / "values.yaml"))
    made.kubectl("apply", "-f", str(_HERE / "namespace.yaml"))
    keys = cluster.get("secret", "faces-keys")["data"]["keys.yaml"]
    s3 = {
        "AWS_ACCESS_KEY_ID": secrets.token_hex(10),
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
    }
    redis = {"redis-password": secrets.token_hex(20)}
    both = (secret("faces-s3", s3, f"objects.{CALLERS}.svc"), secret("faces-redis", redis))
    made.apply(
        *both,
        secret("faces-keys", {"keys.yaml": base64.b64decode(keys).decode()}),
        secret("faces-ca", _authority(tmp_path_factory.mktemp("authority"))),
    )
    cluster.apply(*both, namespace=CALLERS)
    _start_servers(cluster)
    bucket = ("exec", callers.NAME, "--", "python", "-c", _BUCKET)
    cluster.kubectl(*bucket, f"http://objects.{CALLERS}.svc", *s3.values(), namespace=CALLERS)
    yield Caller(made, caller.key, callers.service(made))
    made.helm("uninstall", RELEASE, "--ignore-not-found")
    made.kubectl("delete", "namespace", NAMESPACE, "--timeout=300s")


@pytest.fixture(scope="module")
def there(other: Caller) -> Caller:
    """Installed and ready."""
    begin = time.monotonic()
    other.cluster.upgrade(install=True)
    print(f"helm install --wait: {time.monotonic() - begin:.0f} s")
    for kind in ("rayservice", "inferenceservice"):
        wait(f"the {kind}", _PATIENCE_S, functools.partial(other.cluster.ready, kind))
    wait("/readyz", 60, lambda: other.ask("GET", "/readyz")[0] == 200)
    return other


def test_it_comes_up_under_a_quota(other: Caller, there: Caller) -> None:
    messages = [event["message"] for event in other.cluster.select("events")]
    assert [m for m in messages if "exceeded quota" in m or "violates PodSecurity" in m] == []
    assert len(other.cluster.pods("ray.io/is-ray-node=yes")) == 5


def test_a_person_is_enrolled_and_identified(there: Caller) -> None:
    status, report = there.ask(
        "POST", "/generate", "id=2576", "images=@/app/data/2576/photo_01.jpg"
    )
    assert status == 200, report
    assert _identified(there) == [2576]


def test_the_head_is_killed_with_a_redis_behind_it(there: Caller) -> None:
    (head,) = there.cluster.pods(_HEAD)
    begin = time.monotonic()
    with there.load(*_LOAD) as outcome:
        there.cluster.kubectl(
            "delete", "pod", head["metadata"]["name"], "--grace-period=0", "--force"
        )
        wait("another head", _PATIENCE_S, lambda: _other(there.cluster, head))
        wait("the RayService", _PATIENCE_S, lambda: there.cluster.ready("rayservice"))
        print(f"another head after {time.monotonic() - begin:.0f} s")
        time.sleep(10)
    assert outcome.failures == []
    assert outcome.sent > 50


def test_a_dead_autoscaler_is_seen_and_mended(there: Caller) -> None:
    """It ends where it does not reach the API. The alert reads the state of its container."""
    cluster = there.cluster
    with there.load(*_LOAD) as outcome:
        cluster.upgrade("networkPolicy.apiServerPorts={1}")
        (head,) = cluster.pods(_HEAD)
        cluster.kubectl("delete", "pod", head["metadata"]["name"])
        wait("its end", _PATIENCE_S, lambda: "terminated" in _autoscaler(cluster))
        cluster.upgrade()
        (head,) = cluster.pods(_HEAD)
        blocks = ("k8s/RUNBOOK.md: CLUSTER=", "k8s/RUNBOOK.md: kubectl -n $NS delete $HEAD_POD")
        lines = (f"NS={NAMESPACE} RELEASE={RELEASE}", *(block(start).text for start in blocks))
        done = shell("\n".join(lines), _PATIENCE_S)
        assert done.returncode == 0, done.stderr
        wait("another one", _PATIENCE_S, lambda: _other(cluster, head))
        wait("the RayService", _PATIENCE_S, lambda: cluster.ready("rayservice"))
    assert "running" in _autoscaler(cluster)
    assert outcome.failures == []


def test_triton_is_scaled_by_an_hpa_until_it_is_switched_off(there: Caller) -> None:
    cluster, name = there.cluster, f"hpa/{RELEASE}-predictor"
    wait("its metric", _PATIENCE_S, lambda: cluster.get(name)["status"].get("currentMetrics"))
    with there.load(*_LOAD) as outcome:
        before = names(cluster.pods(_TRITON))
        cluster.upgrade("triton.autoscaling.class=external")
        wait("its end", _PATIENCE_S, lambda: not cluster.select("hpa"))
        wait("other pods of Triton", _PATIENCE_S, lambda: cluster.replaced(_TRITON, before))
    assert outcome.failures == []


def test_nothing_of_it_stays_in_the_redis(there: Caller) -> None:
    """What UPGRADES.md says to do before `helm uninstall`."""
    cluster = there.cluster
    assert _redis_keys(cluster) > 0
    begin = time.monotonic()
    cluster.kubectl("delete", "rayservice", RELEASE, "--wait", f"--timeout={_LONGEST_S}s")
    wait("no cluster", _LONGEST_S, lambda: not cluster.clusters())
    print(f"gone after {time.monotonic() - begin:.0f} s")
    assert _redis_keys(cluster) == 0
    cluster.helm("uninstall", RELEASE)


def _start_servers(cluster: Cluster) -> None:
    minio = yaml.safe_load((CHART / "values.yaml").read_text())["minio"]["image"]
    images = {"redis": os.environ.get(REDIS_IMAGE, cluster.image), "minio": minio}
    text = string.Template((_HERE / "servers.yaml").read_text()).substitute(images)
    cluster.kubectl("apply", "-f", "-", namespace=CALLERS, input=text)
    for name in ("redis", "objects"):
        ready = functools.partial(cluster.get, "pod", name, namespace=CALLERS)
        wait(name, 120, lambda ready=ready: is_ready(ready()))  # type: ignore[misc]


def _authority(folder: Path) -> dict[str, str]:
    """A CA, which signs itself."""
    made = {"tls.crt": folder / "tls.crt", "tls.key": folder / "tls.key"}
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    files = ("-keyout", made["tls.key"], "-out", made["tls.crt"])
    command = ("openssl", "req", "-x509", *key, "-subj", "/CN=faces", "-days", "30", *files)
    subprocess.run(command, check=True, capture_output=True)
    return {name: file.read_text() for name, file in made.items()}


def _identified(caller: Caller) -> list[int | None]:
    status, answer = caller.ask("POST", "/infer", f"image=@{PHOTO}")
    assert status == 200, answer
    return [face["id"] for face in answer["faces"]]


def _other(cluster: Cluster, head: Object) -> bool:
    return cluster.replaced(_HEAD, names([head]), any)


def _autoscaler(cluster: Cluster) -> dict[str, Any]:
    """The state of its container, of the head that is there."""
    (head,) = cluster.pods(_HEAD)
    states = head["status"].get("containerStatuses", [])
    return next((each["state"] for each in states if each["name"] == "autoscaler"), {})


def _redis_keys(cluster: Cluster) -> int:
    command = 'REDISCLI_AUTH="$PASSWORD" redis-cli dbsize'
    return int(cluster.kubectl("exec", "redis", "--", "sh", "-c", command, namespace=CALLERS))
