"""The cluster that KUBECONFIG names: kubectl, both Helms, and waiting."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.support.chart.helm import CHART, ROOT, Helm
from tests.support.chart.tools import FOLDER

RELEASE = "faces"
NAMESPACE = "faces"
CALLERS = "faces-callers"
STRANGERS = "faces-strangers"
STAGES = ("decode", "detect", "ingress", "match")
VALUES = (ROOT / "k8s/values-kind.yaml", Path(__file__).parent / "values.yaml")

Object = dict[str, Any]
T = TypeVar("T")

_POLL_SECONDS = 1.0
_WEBHOOK_TRIES, _WEBHOOK_PAUSE_S = 5, 15
_PATIENCE_S = 600.0


class CommandError(Exception):
    """A command failed; the message has what it wrote."""


@dataclass(frozen=True)
class Cluster:
    """A cluster with KubeRay and KServe.

    Attributes:
        image: the serving image, in the cluster's nodes or in a registry that they reach.
        release: the name of the release, and of its RayService and InferenceService.
        namespace: where it is, and where kubectl looks unless it is told another one.
        values: the release's files of values.
    """

    image: str
    release: str = RELEASE
    namespace: str = NAMESPACE
    values: Sequence[Path] = VALUES

    def kubectl(self, *words: str, namespace: str | None = None, input: str | None = None) -> str:
        """The command's output. Raises CommandError."""
        return run([kubectl_program(), "--namespace", namespace or self.namespace, *words], input)

    def get(self, *words: str, namespace: str | None = None) -> Object:
        found: Object = json.loads(self.kubectl("get", *words, "-o", "json", namespace=namespace))
        return found

    def select(self, kind: str, selector: str = "", namespace: str | None = None) -> list[Object]:
        items: list[Object] = self.get(kind, "-l", selector, namespace=namespace)["items"]
        return items

    def pods(self, selector: str = "") -> list[Object]:
        """Those that are there and are not on their way out."""
        return [
            pod
            for pod in self.select("pods", selector)
            if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] != "Succeeded"
        ]

    def stage(self, stage: str) -> list[Object]:
        return self.pods(
            f"app.kubernetes.io/component={stage},app.kubernetes.io/instance={self.release}"
        )

    def at_rest(self) -> bool:
        """Whether each stage has one pod: no load has added one, and none is on its way."""
        return all(len(self.stage(stage)) == 1 for stage in STAGES)

    def replaced(
        self, selector: str, before: set[str], ready: Callable[[Iterable[bool]], bool] = all
    ) -> bool:
        """Whether all pods of these names are gone, and all others (or any) are ready."""
        there = self.select("pods", selector)
        return bool(there) and not names(there) & before and ready(map(is_ready, there))

    def helm(self, *words: str, major: int = 4) -> str:
        """Both outputs of a command of Helm. Raises CommandError."""
        return run([str(Helm(major).binary), "--namespace", self.namespace, *words], together=True)

    def upgrade(self, *values: str, major: int = 4, install: bool = False) -> str:
        """`helm upgrade` or `helm install` with the release's values, and ``--set`` of these.

        An upgrade returns as soon as the objects are changed, an install when they are ready.
        """
        repository, _, tag = self.image.rpartition(":")
        files = [word for file in self.values for word in ("--values", str(file))]
        settings = (f"image.repository={repository}", f"image.tag={tag}", *values)
        sets = [word for setting in settings for word in ("--set", setting)]
        words = ["install", "--wait", "--timeout", "8m"] if install else ["upgrade"]
        words += [self.release, str(CHART), *files, *sets]
        if install:
            return self.helm(*words, major=major)
        # KServe's operator restarts on a small node that starts a whole RayCluster.
        return again(
            lambda: self.helm(*words, major=major),
            _WEBHOOK_TRIES,
            _WEBHOOK_PAUSE_S,
            "failed calling webhook",
        )

    def apply(self, *objects: Object, namespace: str | None = None) -> None:
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "--server-side", "-f", "-", namespace=namespace, input=document)

    def ready(self, kind: str) -> bool:
        states = self.get(kind, self.release).get("status", {}).get("conditions", [])
        return any(state["type"] == "Ready" and state["status"] == "True" for state in states)

    def clusters(self) -> list[str]:
        """The RayClusters that are there, by name."""
        return [item["metadata"]["name"] for item in self.select("rayclusters")]


def run(command: Sequence[str], input: str | None = None, *, together: bool = False) -> str:
    done = subprocess.run(
        command,
        input=input,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if together else subprocess.PIPE,
        text=True,
        timeout=_PATIENCE_S,
    )
    if done.returncode:
        wrote = (done.stdout + (done.stderr or "")).strip()
        raise CommandError(f"{' '.join(command)} ended with {done.returncode}:\n{wrote}")
    return done.stdout.strip()


def again(work: Callable[[], T], tries: int, pause_s: float, passing: str = "") -> T:
    """What ``work`` returns, tried again after a CommandError with the words ``passing``."""
    for _ in range(tries - 1):
        try:
            return work()
        except CommandError as error:
            if passing not in str(error):
                raise
            print(f"again: {str(error)[-300:]}")
        time.sleep(pause_s)
    return work()


def wait(what: str, seconds: float, ready: Callable[[], T]) -> T:
    """Poll until something true comes back, and return it. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not so after {seconds:.0f} s")
        time.sleep(_POLL_SECONDS)
    return found


def names(objects: Sequence[Object]) -> set[str]:
    return {item["metadata"]["name"] for item in objects}


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def kubeconfig() -> str | None:
    return os.environ.get("KUBECONFIG")


def kubectl_program() -> str:
    return shutil.which("kubectl") or str(FOLDER / "kubectl")
