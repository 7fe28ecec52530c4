"""Installs CoreDNS, KubeRay, KServe, metrics-server and Skipper, as they were built."""

from __future__ import annotations

import base64
import functools
import os
import shutil
from pathlib import Path

from tests.cluster.onenode import go
from tests.cluster.onenode.home import HERE, Home
from tests.cluster.onenode.namespaces import apply, kubectl
from tests.cluster.onenode.shell import run, succeeds, wait
from tests.cluster.onenode.templates import fill, write
from tests.support.chart.helm import Helm
from tests.support.chart.tools import FOLDER

_OPERATORS = (
    "kube-system/coredns",
    "kuberay-system/kuberay-operator",
    "kserve/kserve-controller-manager",
    "kube-system/metrics-server",
    "skipper/skipper",
)


def install(home: Home) -> None:
    """Install all, and wait until they work. Raises ClusterError when they do not in time."""
    apply(home, fill(home, "manifests/dns.yaml"))
    apply(home, (HERE / "manifests/namespaces.yaml").read_text())
    apply(home, _chart(home, "kserve-crd"))
    kuberay = go.module(home, "kuberay", "github.com/ray-project/kuberay/ray-operator")
    apply(home, _kustomized(home, "kuberay", kuberay / "config/default"))
    crds = kubectl(home, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    run(crds)
    apply(home, _kserve(home))
    metrics = go.module(home, "metrics-server", "sigs.k8s.io/metrics-server")
    apply(home, _kustomized(home, "metrics-server", metrics / "manifests/base"))
    apply(home, (HERE / "manifests/skipper.yaml").read_text())
    for operator in _OPERATORS:
        namespace, name = operator.split("/")
        rollout = ("rollout", "status", f"deployment/{name}", "--timeout=1s")
        wait(name, 180, functools.partial(succeeds, kubectl(home, "-n", namespace, *rollout)))
    # Its webhooks can answer a little later than the pod is ready.
    runtimes = home.state / "runtimes.yaml"
    runtimes.write_text(_chart(home, "kserve-runtime-configs", "servingruntime.enabled=true"))
    applied = kubectl(home, "apply", "--server-side", "-f", runtimes)
    wait("KServe's runtimes", 60, lambda: succeeds(applied))


def sources(home: Home) -> Path:
    """KServe's repository."""
    return go.module(home, "kserve", "github.com/kserve/kserve")


def _kserve(home: Home) -> str:
    """As k8s/install.sh has it, with a certificate of our own in place of cert-manager's."""
    folder = home.state / "kserve"
    folder.mkdir()
    for source, target in (("webhook.crt", "tls.crt"), ("webhook.key", "tls.key")):
        shutil.copy2(home.pki / source, folder / target)
    gateway = ("disableIngressCreation", "disableIstioVirtualHost")
    values = (f"controller.gateway.{name}=true" for name in gateway)
    rendered = _chart(home, "kserve-resources", "controller.deploymentMode=Standard", *values)
    (folder / "rendered.yaml").write_text(rendered)
    authority = base64.b64encode((home.pki / "ca.crt").read_bytes()).decode()
    return _kustomized(home, "kserve", HERE, ca_bundle=authority)


def _chart(home: Home, name: str, *values: str) -> str:
    options = [word for value in values for word in ("--set", f"kserve.{value}")]
    chart = sources(home) / "charts" / name
    return run([Helm(4).binary, "template", name, chart, "--namespace", "kserve", *options])


def _kustomized(home: Home, name: str, module: Path, **values: str) -> str:
    folder = home.state / name
    # Kustomize takes no absolute path of a folder.
    values["module"] = os.path.relpath(module, folder)
    write(home, f"manifests/{name}.yaml", folder / "kustomization.yaml", **values)
    return run([FOLDER / "kubectl", "kustomize", folder])
