"""Jobs over a bucket, of the chart's `batch.jobs`: the people of a prefix are enrolled, and then
identified in its photos. They reach the service and S3 through their NetworkPolicy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster.caller import Caller
from tests.cluster.cluster import Cluster, Object, wait

ID = 2576
_PATIENCE_S = 300
_JOBS = "app.kubernetes.io/component=batch"
_FOLDER = "s3://faces/tests-jobs"
_PUT = """
import os, pathlib, boto3
s3 = boto3.client("s3", endpoint_url=os.environ["ENDPOINT"])
for photo in sorted(pathlib.Path("/app/data/2576").glob("*.jpg"))[:3]:
    s3.put_object(Bucket="faces", Key=f"tests-jobs/in/2576/{photo.name}", Body=photo.read_bytes())
s3.put_object(Bucket="faces", Key="tests-jobs/in/2576/broken.jpg", Body=b"no photo")
"""
_GET = """
import os, sys, boto3
s3 = boto3.client("s3", endpoint_url=os.environ["ENDPOINT"])
print(s3.get_object(Bucket="faces", Key=sys.argv[1])["Body"].read().decode())
"""


def job(number: int, kind: str) -> list[str]:
    values = {
        "name": f"tests-{kind}",
        "kind": kind,
        "source": f"{_FOLDER}/in",
        "out": f"{_FOLDER}/{kind}",
        "keySecret.name": "faces-admin-key",
    }
    return [f"batch.jobs[{number}].{name}={value}" for name, value in values.items()]


def in_a_pod_of_the_gallery(cluster: Cluster, code: str, *words: str) -> str:
    """The output of Python where the keys of S3 are, and the way to it is open."""
    (pod, *_) = cluster.stage("match")
    endpoint = f"ENDPOINT=http://{cluster.release}-minio.{cluster.namespace}.svc:9000"
    python = ["env", endpoint, "python", "-c", code, *words]
    return cluster.kubectl("exec", pod["metadata"]["name"], "-c", "ray-worker", "--", *python)


def summary(cluster: Cluster, kind: str) -> dict[str, Any]:
    text = in_a_pod_of_the_gallery(cluster, _GET, f"tests-jobs/{kind}/summary.json")
    return dict(json.loads(text))


def complete(cluster: Cluster, count: int) -> list[Object]:
    jobs = cluster.select("jobs", _JOBS)
    states = [
        {each["type"] for each in one.get("status", {}).get("conditions", [])} for one in jobs
    ]
    assert not any("Failed" in of_one for of_one in states), states
    done = len(jobs) == count and all("Complete" in of_one for of_one in states)
    return jobs if done else []


@pytest.fixture
def photos(cluster: Cluster, release: Caller) -> None:
    in_a_pod_of_the_gallery(cluster, _PUT)


def test_people_of_a_bucket_are_enrolled_and_looked_up(
    cluster: Cluster, release: Caller, photos: None
) -> None:
    cluster.upgrade(*job(0, "enroll"))
    (enrolment,) = wait("the enrolment", _PATIENCE_S, lambda: complete(cluster, 1))
    told = summary(cluster, "enroll")
    assert (told["people"], told["enrolled"], told["photos"], told["used"]) == (1, 1, 4, 3)
    assert release.ask("GET", f"/identities/{ID}")[1]["photos"] == 3

    cluster.upgrade(*job(0, "enroll"), *job(1, "batch"))
    jobs = wait("the look-ups", _PATIENCE_S, lambda: complete(cluster, 2))
    # What has not changed is not done again.
    assert enrolment["metadata"]["uid"] in {one["metadata"]["uid"] for one in jobs}
    told = summary(cluster, "batch")
    assert (told["photos"], told["named"]) == (4, 3)
    assert told["errors"] == {"unsupported-image": 1}

    cluster.upgrade()
    wait("the Jobs' end", 60, lambda: not cluster.select("jobs", _JOBS))
    assert release.ask("DELETE", f"/identities/{ID}?erase=true")[0] == 200
