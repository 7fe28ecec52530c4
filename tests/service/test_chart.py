"""What the chart runs in a cluster, run here: its serveConfigV2, its Jobs' and its test's commands.

Only the addresses are this machine's.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.model.repository import REPOSITORY
from serving.stack.config import StackSettings
from serving.stack.credentials import credentials
from serving.stack.process import LOOPBACK
from tests.support import stacks
from tests.support.chart.helm import Object
from tests.support.chart.objects import only, pods, serve_config
from tests.support.stacks import KEYS

KEY = KEYS["boss"]


@pytest.fixture(scope="module")
def rendered() -> tuple[Object, ...]:
    return stacks.rendered()


@pytest.fixture(scope="module")
def stack(keyed_stack: stacks.Stack) -> StackSettings:
    return keyed_stack.settings


@pytest.fixture(scope="module")
def api(stack: StackSettings) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=60) as client:
        yield client


def command_of(objects: Sequence[Object], role: str, container: str) -> list[str]:
    """What a container of the release runs."""
    (found,) = (
        each["command"]
        for pod in pods(objects)
        if pod.labels["app.kubernetes.io/component"] == role
        for each in pod.containers
        if each["name"] == container
    )
    return list(found)


def run(command: Sequence[str], stack: StackSettings, key: str = "", **places: str) -> str:
    """As in its pod, with the addresses and folders of this machine in place of the cluster's.

    Args:
        key: what is in FACES_KEY.
    """
    here = [_replaced(word, places) for word in command]
    program = {"faces": [sys.executable, "-m", "serving"], "python": [sys.executable]}[here[0]]
    done = subprocess.run(
        [*program, *here[1:]],
        env={
            **os.environ,
            **credentials(stack.folder),
            "AWS_DEFAULT_REGION": "us-east-1",
            "FACES_CONFIG": str(stack.folder / "serve.yaml"),
            "FACES_KEY": key,
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _replaced(word: str, places: dict[str, str]) -> str:
    for there, here in places.items():
        word = word.replace(there, here)
    return word


def test_a_person_is_enrolled_and_identified(api: httpx.Client, data: Path) -> None:
    photos = [("images", path.read_bytes()) for path in sorted((data / "2576").glob("*.jpg"))]
    api.post("/generate", data={"id": "2576"}, files=photos).raise_for_status()
    probe = {"image": (data / "id_is_2576.jpg").read_bytes()}
    (face,) = api.post("/infer", files=probe).raise_for_status().json()["faces"]
    assert face["id"] == 2576
    assert face["confidence"] > 0.9


def test_whoever_has_no_key_is_refused(stack: StackSettings) -> None:
    for path in ("/infer", "/generate"):
        assert httpx.post(f"{stack.url}{path}").status_code == 401
    assert httpx.get(f"{stack.url}/readyz").status_code == 200


def test_the_readiness_probe_asks_the_proxy(
    rendered: tuple[Object, ...], stack: StackSettings
) -> None:
    probed = {
        container["readinessProbe"]["httpGet"]["path"]
        for pod in pods([only(rendered, "RayService")])
        for container in pod.containers
        if container.get("readinessProbe", {}).get("httpGet", {}).get("port") == "serve"
    }
    (path,) = probed
    assert httpx.get(f"{stack.url}{path}").status_code == 200


def test_the_helm_test_passes(
    rendered: tuple[Object, ...], stack: StackSettings, api: httpx.Client, data: Path
) -> None:
    command = command_of(rendered, "test", "test")
    url = next(word for word in command if word.startswith("http://"))
    python, _, _, _, person, _, _, *walled = command
    assert python == "python"
    # Nobody listens there, as behind the walls of a cluster.
    closed = dict.fromkeys(walled, f"{LOOPBACK}:9")
    places = {url: stack.url, "/app/data": str(data), **closed}
    # As files of secrets end.
    assert "Enrolled, identified and erased" in run(command, stack, f"{KEY}\n", **places)
    # It leaves nothing behind.
    assert api.get(f"/identities/{person}").status_code == 404
    assert "No person was enrolled" in run(command, stack, **places)


def test_the_maintenance_runs(rendered: tuple[Object, ...], stack: StackSettings) -> None:
    for container in ("maintain",):
        run(command_of(rendered, "maintenance", container), stack)


def test_the_model_is_published_once(rendered: tuple[Object, ...], stack: StackSettings) -> None:
    command = command_of(rendered, "publish", "publish")
    endpoint = next(word for word in command if word.startswith("http://"))
    places = {
        endpoint: f"http://{LOOPBACK}:{stack.s3_port}",
        "/app/triton/models": str(REPOSITORY),
    }
    assert "is published to s3://faces/models/facenet" in run(command, stack, **places)
    assert "nothing to do" in run(command, stack, **places)


def test_the_bucket_is_made_once(rendered: tuple[Object, ...], stack: StackSettings) -> None:
    command = command_of(rendered, "bucket", "make-bucket")
    endpoint = next(word for word in command if word.startswith("http://"))
    assert command[-1] == "faces"
    command[-1] = "another"
    places = {endpoint: f"http://{LOOPBACK}:{stack.s3_port}"}
    assert "Created the bucket another" in run(command, stack, **places)
    assert run(command, stack, **places) == ""


def test_the_document_is_the_rendered_one(
    rendered: tuple[Object, ...], stack: StackSettings
) -> None:
    """But for the addresses and places."""
    assert stack.document is not None
    assert _without_addresses(serve_config(rendered)) == _without_addresses(dict(stack.document))
    (own,) = (o for o in rendered if o["kind"] == "ConfigMap" and "serve.yaml" in o["data"])
    assert own["data"]["serve.yaml"].strip() == (
        only(rendered, "RayService")["spec"]["serveConfigV2"].strip()
    )


def _without_addresses(document: dict[str, Any]) -> dict[str, Any]:
    plain = copy.deepcopy(document)
    del plain["http_options"]
    plain["logging_config"].pop("logs_dir", None)
    (application,) = plain["applications"]
    del application["args"]["triton"]["url"]
    del application["args"]["gallery"]["endpoint"]
    del application["args"]["keys"]["file"]
    return plain
