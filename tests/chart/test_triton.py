"""Triton's side doors: the chart's arguments, given to a real tritonserver."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import subprocess
import sysconfig
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.settings import DEFAULT_MODEL
from tests.support.chart.helm import Helm
from tests.support.chart.objects import only
from tests.support.chart.values import VARIANTS

MODEL = DEFAULT_MODEL
# By Triton's HTTP extensions: what loads programs, reads and writes memory, files and logs.
CLOSED = {
    "model-repository": ("POST", "/v2/repository/index"),
    "model-repository, load": ("POST", f"/v2/repository/models/{MODEL}/load"),
    "model-repository, unload": ("POST", f"/v2/repository/models/{MODEL}/unload"),
    "system shared memory": ("GET", "/v2/systemsharedmemory/status"),
    "shared memory, register": ("POST", "/v2/systemsharedmemory/region/any/register"),
    "CUDA shared memory": ("GET", "/v2/cudasharedmemory/status"),
    "trace": ("POST", "/v2/trace/setting"),
    "logging": ("POST", "/v2/logging"),
    "statistics": ("GET", "/v2/models/stats"),
}
OPEN = ("/v2", "/v2/health/live", "/v2/health/ready")


def arguments(helm: Helm) -> list[str]:
    """Of the rendered predictor, as a container of this pod gets them."""
    model = only(helm.template(files=[VARIANTS["defaults"]]), "InferenceService")
    container = model["spec"]["predictor"]["model"]
    own = {v["name"]: v["valueFrom"]["fieldRef"]["fieldPath"] for v in _from_the_pod(container)}
    assert own == {"POD_UID": "metadata.uid"}
    text = [argument.replace("$(POD_UID)", str(uuid.uuid4())) for argument in container["args"]]
    assert not re.search(r"\$\(", "".join(text)), "a variable that nobody sets stays as it is"
    return text


def _from_the_pod(container: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [each for each in container["env"] if "fieldRef" in each.get("valueFrom", {})]


@pytest.fixture(scope="module")
def triton(helm4: Helm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; with no model, as these calls need none."""
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        pytest.skip("the tritonserver package is not installed")
    server = Path(spec.origin).parent / "tritonserver"
    libraries = (sysconfig.get_config_var("LIBDIR"), server.parents[1] / "nvidia_pytriton.libs")
    folder = tmp_path_factory.mktemp("triton")
    http, grpc, metrics = free_ports(3)
    command = [
        str(server / "bin" / "tritonserver"),
        f"--model-repository={folder}",
        *(f"--{kind}-address=127.0.0.1" for kind in ("http", "grpc", "metrics")),
        *(
            f"--{kind}-port={port}"
            for kind, port in zip(("http", "grpc", "metrics"), (http, grpc, metrics), strict=True)
        ),
        *arguments(helm4),
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))},
        )
    address = f"http://127.0.0.1:{http}"
    try:
        deadline = time.monotonic() + 60
        while not _is_live(address):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _is_live(address: str) -> bool:
    try:
        return httpx.get(f"{address}/v2/health/live").is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("what", CLOSED)
def test_what_nobody_needs_is_closed(triton: str, what: str) -> None:
    method, path = CLOSED[what]
    answer = httpx.request(method, triton + path, headers={"faces-closed": "$(POD_UID)"})
    assert answer.status_code == 403


@pytest.mark.parametrize("path", OPEN)
def test_what_the_probes_need_is_open(triton: str, path: str) -> None:
    assert httpx.get(triton + path).is_success


def test_a_model_can_be_asked_for(triton: str) -> None:
    """There is none: what matters is that this is Triton's own answer, and no refusal."""
    for path in ("", "/ready", "/config"):
        assert httpx.get(f"{triton}/v2/models/{MODEL}{path}").status_code in (400, 404)
    answer = httpx.post(f"{triton}/v2/models/{MODEL}/infer", json={"inputs": []})
    assert answer.status_code in (400, 404)


def test_values_can_open_them(helm4: Helm) -> None:
    model = only(
        helm4.template({"triton": {"closedApis": []}}, files=[VARIANTS["defaults"]]),
        "InferenceService",
    )["spec"]["predictor"]["model"]
    assert not [argument for argument in model["args"] if "restricted" in argument]
    assert not _from_the_pod(model)


def test_arguments_of_the_user_open_nothing(helm4: Helm) -> None:
    model = only(
        helm4.template({"triton": {"args": ["--log-verbose=1"]}}, files=[VARIANTS["defaults"]]),
        "InferenceService",
    )["spec"]["predictor"]["model"]
    assert len([argument for argument in model["args"] if "restricted" in argument]) == 2
    assert model["args"][-1] == "--log-verbose=1"
