"""Ray's pods as KubeRay starts and asks them: real Ray, a head and two workers on this machine, by
the chart's parameters, with a token and with certificates that the chart's init container signs.

Left out is the chart's HAProxy, of which a machine can have one.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from ray._private import services

from serving.stack.process import LOOPBACK, Process, check_ports
from tests.support.certificates import authority
from tests.support.chart.helm import Helm, Object
from tests.support.chart.objects import only

# Past those that Ray keeps for its workers.
GCS, DASHBOARD, AGENTS, METRICS, PORT = 21600, 21601, 21602, 21612, 21622
NODES = ("head", "worker-0", "worker-1")
TOKEN = "0123456789abcdef0123456789abcdef"
SERVE = f"http://{LOOPBACK}:{DASHBOARD}/api/serve/applications/"
# As KubeRay sends it: the other header belongs to the proxies of the Kubernetes API.
HEADERS = {"x-ray-authorization": f"Bearer {TOKEN}"}
DOCUMENT = {
    "proxy_location": "HeadOnly",
    "http_options": {"host": LOOPBACK, "port": PORT},
    "applications": [
        {
            "name": "faces",
            "route_prefix": "/",
            "import_path": "tests.service.whereabouts:application",
        }
    ],
}


@pytest.fixture(scope="module")
def service() -> Object:
    helm = Helm(4) if Helm(4).binary.is_file() else Helm(3)
    values = {
        "s3": {"existingSecret": "s3"},
        "auth": {"existingSecret": "keys"},
        "ray": {
            "tokenAuth": {"enabled": True},
            "tls": {"enabled": True, "existingSecret": "authority"},
        },
    }
    return only(helm.template(values), "RayService")


def sign(service: Object, folder: Path) -> dict[str, str]:
    """A certificate as the init container signs it; where Ray finds it, as the chart has it."""
    (folder / "ca").mkdir(parents=True)
    (folder / "tls").mkdir()
    signer, key = authority(folder)
    signer.rename(folder / "ca" / "tls.crt")
    key.rename(folder / "ca" / "tls.key")
    head = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
    (init,) = head["initContainers"]
    places = {"/etc/ray": str(folder), "/tmp": str(folder)}
    (shell, options, script) = (replaced(word, places) for word in init["command"])
    # Not all of Ray takes the address that it is told.
    address = services.get_node_ip_address()
    made = subprocess.run(
        [shell, options, script],
        env={"PATH": os.environ["PATH"], "POD_IP": address, "FQ_RAY_IP": "head.example"},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    return {
        each["name"]: replaced(each["value"], places)
        for each in head["containers"][0]["env"]
        if each["name"].startswith(("RAY_TLS_", "RAY_USE_TLS"))
    }


def replaced(word: str, places: Mapping[str, str]) -> str:
    return re.sub("|".join(places), lambda match: places[match[0]], word)


def environment(pod: str, tls: Mapping[str, str]) -> dict[str, str]:
    """What KubeRay adds to that of the chart."""
    return {
        **os.environ,
        **tls,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_allow_out_of_band_object_ref_serialization": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_ADDRESS": f"{LOOPBACK}:{GCS}",
        "RAY_CLOUD_INSTANCE_ID": pod,
    }


def start(
    pod: str, number: int, given: Mapping[str, str], folder: Path, tls: Mapping[str, str]
) -> Process:
    """`ray start` as KubeRay composes it, with the addresses of this machine."""
    here = {
        "node-ip-address": LOOPBACK,
        "dashboard-agent-listen-port": str(AGENTS + number),
        "metrics-export-port": str(METRICS + number),
        "min-worker-port": "0",  # any
        "max-worker-port": "0",
        "temp-dir": str(folder),
        # Nothing here needs more, and there are three of them.
        "object-store-memory": "80000000",
    }
    if pod == "head":
        here |= {"port": str(GCS), "dashboard-port": str(DASHBOARD), "dashboard-host": LOOPBACK}
    else:
        here |= {"address": f"{LOOPBACK}:{GCS}", "num-cpus": "1"}
        del here["temp-dir"]
    options = " ".join(f"--{key}={value}" for key, value in {**given, **here}.items())
    command = f"exec ray start {'--head ' if pod == 'head' else ''}{options} --block"
    return Process(
        pod, ["bash", "-c", command], log=folder / f"{pod}.log", env=environment(pod, tls)
    )


@pytest.fixture(scope="module")
def tls(service: Object, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return sign(service, tmp_path_factory.mktemp("tls") / "pod")


@pytest.fixture(scope="module")
def pods(service: Object, tls: dict[str, str]) -> Iterator[list[Process]]:
    cluster = service["spec"]["rayClusterConfig"]
    decode = next(g for g in cluster["workerGroupSpecs"] if g["groupName"] == "decode")
    # Unix sockets need short paths.
    folder = Path(tempfile.mkdtemp(prefix="faces-"))
    check_ports({"GCS": GCS, "dashboard": DASHBOARD, "agent": AGENTS, "HTTP": PORT})
    started: list[Process] = []
    try:
        started.append(start("head", 0, cluster["headGroupSpec"]["rayStartParams"], folder, tls))
        started[0].wait_until(lambda: answers(SERVE, HEADERS), 60)
        for number, pod in enumerate(NODES[1:], 1):
            # One after the other: they share a folder, which two that start at once fight for.
            started.append(start(pod, number, decode["rayStartParams"], folder, tls))
            agent = f"http://{LOOPBACK}:{AGENTS + number}/api/healthz"
            started[-1].wait_until(functools.partial(answers, agent, {}), 60)
        yield started
    finally:
        for process in reversed(started):
            process.stop(20)
        shutil.rmtree(folder)


def answers(url: str, headers: Mapping[str, str]) -> bool:
    try:
        return httpx.get(url, headers=headers).is_success
    except httpx.TransportError:
        return False


def details() -> dict[str, Any]:
    """What KubeRay polls."""
    found: dict[str, Any] = httpx.get(SERVE, headers=HEADERS).raise_for_status().json()
    return found


def homes() -> set[str]:
    """The nodes with a replica that runs."""
    application = details()["applications"].get("faces", {"deployments": {}})
    return {
        replica["node_instance_id"]
        for deployment in application["deployments"].values()
        for replica in deployment["replicas"]
        if replica["state"] == "RUNNING"
    }


def eventually(fine: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not fine():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def test_who_has_no_token_is_refused(pods: list[Process]) -> None:
    assert httpx.get(SERVE).status_code == 401
    wrong = {"x-ray-authorization": "Bearer wrong"}
    assert httpx.get(SERVE, headers=wrong).status_code == 403
    assert httpx.put(SERVE, json=DOCUMENT).status_code == 401
    assert details()["applications"] == {}


def test_the_kubelet_needs_no_token(pods: list[Process], service: Object) -> None:
    cluster = service["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    probed = {
        probe["httpGet"]["path"]
        for group in groups
        for container in group["template"]["spec"]["containers"]
        for probe in (container["livenessProbe"], container["readinessProbe"])
        if probe["httpGet"]["port"] == 52365
    }
    assert probed
    asked = [f"http://{LOOPBACK}:{AGENTS + n}{path}" for n in range(len(NODES)) for path in probed]
    assert [url for url in asked if not answers(url, {})] == []


def test_a_pod_that_goes_hands_its_replicas_over(
    pods: list[Process], service: Object, tls: dict[str, str]
) -> None:
    # Serve itself starts with it.
    httpx.put(SERVE, json=DOCUMENT, headers=HEADERS, timeout=60).raise_for_status()
    assert eventually(lambda: len(homes()) == 1, 90), details()
    (old,) = homes()
    (new,) = {"worker-0", "worker-1"} - {old}
    assert httpx.get(f"http://{LOOPBACK}:{PORT}/").text == old

    group = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    (container,) = group["template"]["spec"]["containers"]
    hook = container["lifecycle"]["preStop"]["exec"]["command"]
    # It waits until no replica is left, and sees those of all nodes on this machine.
    hook = [sys.executable, *hook[1:-1], "15"]
    with subprocess.Popen(
        hook, env=environment(old, tls), stderr=subprocess.PIPE, text=True
    ) as going:
        seen = []
        while going.poll() is None:
            seen.append(httpx.get(f"http://{LOOPBACK}:{PORT}/").text)
            time.sleep(0.2)
        # Nobody who asked meanwhile was left without an answer.
        assert set(seen) == {old, new}
        assert going.returncode == 0
        assert going.stderr is not None
        assert going.stderr.read() == ""
    assert homes() == {new}


def test_a_pod_whose_head_is_gone_does_not_wait(service: Object) -> None:
    group = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    (container,) = group["template"]["spec"]["containers"]
    hook = container["lifecycle"]["preStop"]["exec"]["command"]
    nobody = {**environment("worker-0", {}), "RAY_ADDRESS": f"{LOOPBACK}:{GCS + 99}"}
    gone = subprocess.run(
        [sys.executable, *hook[1:]], env=nobody, capture_output=True, text=True, timeout=30
    )
    assert gone.returncode == 0
    assert "not drained" in gone.stderr
