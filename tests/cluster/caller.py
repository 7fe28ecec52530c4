"""Asks the service from pods: single requests, a steady load, and what can be connected to."""

from __future__ import annotations

import contextlib
import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.cluster import CALLERS, Cluster, Object, again, kubectl_program, run

PHOTO = "/app/data/id_is_2576.jpg"
NAME = "caller"

_PROGRAMS = Path(__file__).parent / "pods"
_LONGEST_LOAD_S = 900
_TRIES, _PAUSE_S = 3, 5
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass
class Outcome:
    """What a load got. ``failures``: when it was sent, seconds, path, what came back."""

    sent: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[float, float, str, str]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.sent} sent, {self.answers}, {self.facts}"


@dataclass(frozen=True)
class Caller:
    """A pod that may call the HTTP API.

    Attributes:
        key: of the scope admin, unless a test is about another one.
        url: of the release's Service, or of its Ingress.
    """

    cluster: Cluster
    key: str
    url: str

    def ask(self, method: str, path: str, *parts: str) -> tuple[int, Any]:
        """One request; returns the status, and the body read as JSON where it is.

        Args:
            parts: NAME=VALUE of the form, or NAME=@PATH of a photo in the pod.
        """
        answer = json.loads(self._python("ask.py", method, self.url + path, *parts))
        with contextlib.suppress(json.JSONDecodeError):
            return answer["status"], json.loads(answer["body"])
        return answer["status"], answer["body"]

    @contextlib.contextmanager
    def load(self, *kinds: str) -> Iterator[Outcome]:
        """A load for as long as the block runs; its outcome is complete after the block.

        Args:
            kinds: PATH=RATE to get, PATH=RATE@PHOTO to post, as pods/load.py takes them.
        """
        end = f"/tmp/end-{uuid.uuid4().hex}"
        command = self._command("load.py", self.url, end, str(_LONGEST_LOAD_S), *kinds)
        outcome = Outcome()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield outcome
            finally:
                self.cluster.kubectl("exec", NAME, "--", "touch", end, namespace=CALLERS)
                output, _ = process.communicate(timeout=120)
        found = json.loads(output)
        outcome.sent, outcome.answers = found.pop("sent"), found.pop("answers")
        outcome.failures = [tuple(failure) for failure in found.pop("failures")]
        outcome.facts = found
        print(outcome, *outcome.failures[:20], sep="\n")

    def _python(self, program: str, *arguments: str) -> str:
        """What a program prints that ends well, whatever the service answers. So what fails is
        kubectl: the API server or the kubelet of a small node that starts a whole RayCluster."""
        command = self._command(program, *arguments)
        return again(lambda: run(command), _TRIES, _PAUSE_S)

    def _command(self, program: str, *arguments: str) -> list[str]:
        environment = ("env", f"FACES_KEY={self.key}")
        python = (*environment, "python", "-c", (_PROGRAMS / program).read_text())
        return [*_exec(CALLERS, NAME), *python, *arguments]


def service(cluster: Cluster) -> str:
    """The address of the HTTP API within the cluster."""
    return f"http://{cluster.release}-serve-svc.{cluster.namespace}.svc:8000"


def connections(namespace: str, pod: str, container: str | None, addresses: list[str]) -> Any:
    """Whether a pod can connect, by address."""
    program = (_PROGRAMS / "connect.py").read_text()
    which = ("-c", container) if container else ()
    command = [*_exec(namespace, pod, *which), "python3", "-c", program, *addresses]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def pod(name: str, image: str, cpu: str) -> Object:
    """A pod of the serving image that waits, as Pod Security's restricted wants it.

    Args:
        cpu: its request, by which CPU is shared while many pods start. A client that starves sends
            its bodies too slowly, and its requests in bursts.
    """
    container = {
        "name": "main",
        "image": image,
        "command": ["sleep", "infinity"],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}},
        "securityContext": _RESTRICTED,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


def _exec(namespace: str, name: str, *which: str) -> list[str]:
    return [kubectl_program(), "--namespace", namespace, "exec", "-i", name, *which, "--"]
