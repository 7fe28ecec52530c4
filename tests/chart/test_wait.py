"""What waits for the S3 server or for the model, with a real S3 server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import pytest

from serving.operations.publish import Target
from tests.support.chart.helm import Helm, Values
from tests.support.chart.objects import only
from tests.support.chart.values import VARIANTS
from tests.support.seaweed import Seaweed, running

PORT = 17203
READY_S = 30.0  # from the model's last object on


def waiter(helm: Helm, values: Values) -> dict[str, Any]:
    predictor = only(helm.template(values, files=[VARIANTS["defaults"]]), "InferenceService")[
        "spec"
    ]["predictor"]
    (container,) = predictor["initContainers"]
    assert isinstance(container, dict)
    return container


def published(helm: Helm, values: Values) -> Target:
    """Where the chart's Job puts the model."""
    jobs = helm.template(values, files=[VARIANTS["defaults"]])
    command = only(jobs, "Job")["spec"]["template"]["spec"]["containers"][0]["command"]
    _, _, _, model, uri, *_ = command
    return Target.parse(uri, model)


def test_it_waits_for_the_object_that_is_published_last(helm4: Helm, tmp_path: Path) -> None:
    with running(tmp_path, PORT) as server:
        settings = server.settings
        values = {"s3": {"endpoint": settings.endpoint, "bucket": settings.bucket}}
        _, *arguments = waiter(helm4, values)["command"]
        target = published(helm4, values)
        assert arguments[0] == "-c"
        keys = {**server.keys, "AWS_DEFAULT_REGION": "us-east-1"}
        with subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **keys},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                first = process.stdout.readline()
                last = target.key("model.json")
                assert f"s3://{settings.bucket}/{last} is not there yet" in first
                bucket = boto3.resource(
                    "s3",
                    endpoint_url=settings.endpoint,
                    region_name="us-east-1",
                    aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
                ).Bucket(settings.bucket)
                for name in ("1/model.pt", "config.pbtxt"):
                    bucket.put_object(Key=target.key(name), Body=b"x")
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(5)  # a part of a model is none
                bucket.put_object(Key=last, Body=b"{}")
                since = time.monotonic()
                assert process.wait(READY_S) == 0
                assert time.monotonic() - since < READY_S
            finally:
                process.kill()


def test_it_has_the_keys_that_kserve_has(helm4: Helm) -> None:
    values = {
        "s3": {"accessKeyIdKey": "id", "secretAccessKeyKey": "secret"},
        "triton": {"storageSecret": "for-kserve"},
    }
    env = {each["name"]: each for each in waiter(helm4, values)["env"]}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert env[name]["valueFrom"]["secretKeyRef"] == {"name": "for-kserve", "key": name}


def test_another_image_than_that_of_the_stages(helm4: Helm) -> None:
    """So that a new version of the stages does not replace Triton's pods."""
    values = {"model": {"wait": {"image": "registry.example.com/boto3:1"}}}
    assert waiter(helm4, values)["image"] == "registry.example.com/boto3:1"
    assert waiter(helm4, {"image": {"tag": "9"}})["image"] == "facenet-serving:9"


def test_the_bucket_is_made_when_the_server_is_reached(helm4: Helm, tmp_path: Path) -> None:
    jobs = helm4.template({"minio": {"enabled": True}}, files=[VARIANTS["defaults"]])
    (job,) = (j for j in jobs if j["kind"] == "Job" and "-bucket-" in j["metadata"]["name"])
    (container,) = job["spec"]["template"]["spec"]["containers"]
    _, option, program, _, bucket = container["command"]
    server = Seaweed(tmp_path, PORT)
    command = [sys.executable, option, program, server.settings.endpoint, bucket]
    keys = {**server.keys, "AWS_DEFAULT_REGION": "us-east-1"}
    environment = {**os.environ, **keys}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "Not reached yet" in process.stdout.readline()
            server.start()
            assert process.wait(READY_S) == 0
            assert process.stdout.read().endswith(f"Created the bucket {bucket}.\n")
        finally:
            process.kill()
            server.kill()
