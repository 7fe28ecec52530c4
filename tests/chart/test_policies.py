"""Who may talk to whom, by the rendered NetworkPolicies: the whole table, not samples."""

from __future__ import annotations

import dataclasses

import pytest

from tests.chart.helm import NAMESPACE, Helm, Object
from tests.chart.network import Endpoint, allows
from tests.chart.objects import Pod, pods
from tests.chart.values import VARIANTS

STAGES = {"ingress", "decode", "detect", "match"}
RAY = STAGES | {"head"}
GALLERY = {"ingress", "match"}
JOBS = {"publish", "maintenance", "bucket"}
INSIDE = RAY | JOBS | {"triton", "minio", "test"}
INTERNAL = 10_002  # of any Ray process

# Pods of others, and addresses outside of the cluster.
OTHERS = {
    "traefik": Endpoint("traefik", "traefik", {"app.kubernetes.io/name": "traefik"}),
    "operator": Endpoint("operator", "kuberay", {"app.kubernetes.io/name": "kuberay-operator"}),
    "prometheus": Endpoint("prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"}),
    "collector": Endpoint("collector", "telemetry", {"app": "collector"}),
    "dns": Endpoint("dns", "kube-system", {"k8s-app": "kube-dns"}),
    "redis": Endpoint("redis", "redis", {"app": "redis"}),
    "their-triton": Endpoint("their-triton", "models", {"app": "triton"}),
    "stranger": Endpoint("stranger", NAMESPACE, {"app": "stranger"}),
    "far-stranger": Endpoint("far-stranger", "elsewhere", {"app": "stranger"}),
    "kubernetes": Endpoint("kubernetes", ip="192.0.2.1"),
    "s3": Endpoint("s3", ip="203.0.113.7"),
    "pod-identity": Endpoint("pod-identity", ip="169.254.170.23"),
    "pod-identity-6": Endpoint("pod-identity-6", ip="fd00:ec2::23"),
    "node-metadata": Endpoint("node-metadata", ip="169.254.169.254"),
    "internet": Endpoint("internet", ip="198.51.100.9"),
}

Table = dict[tuple[str, int], set[str]]

# Destination and port -> those who may connect. Whoever is not named may not.
INBOUND: Table = {
    **{("head", port): RAY for port in (6379, INTERNAL)},
    ("head", 8265): RAY | {"operator"},
    ("head", 8000): RAY | {"operator"},
    ("head", 8080): RAY | {"prometheus"},
    **{(stage, 8000): RAY | {"traefik", "test"} for stage in STAGES},
    **{(stage, 8080): RAY | {"prometheus"} for stage in STAGES},
    **{(stage, INTERNAL): RAY for stage in STAGES},
    ("triton", 8080): GALLERY,
    ("triton", 9000): set(),
    ("triton", 8002): {"prometheus"},
    ("minio", 9000): GALLERY | JOBS | {"triton"},
    ("minio", 9001): set(),
    **{(job, port): set() for job in (*JOBS, "test") for port in (8000, 8080)},
}


DNS = ("dns", 53)
# By variant: where the release's pods may go to outside of the release.
OUTBOUND: dict[str, Table] = {
    # Only the peers that the values name.
    "everything": {
        DNS: INSIDE - {"minio"},
        ("redis", 6379): {"head"},
        ("collector", 4318): STAGES,
        ("collector", 4317): set(),
        ("internet", 4318): set(),
        ("kubernetes", 443): {"head"},
        ("kubernetes", 6443): {"head"},
        **{("internet", port): set() for port in (53, 80, 443, 6379, 6443)},
        **{("stranger", port): set() for port in (53, 443, 8000, 8080)},
    },
    "elsewhere": {
        DNS: RAY | {"test"},
        ("s3", 9443): GALLERY,
        ("their-triton", 8000): GALLERY,
        ("their-triton", 8080): set(),
        ("internet", 9443): set(),
        ("internet", 443): STAGES,  # traces
        ("pod-identity", 80): GALLERY,
        ("pod-identity-6", 80): GALLERY,
        ("node-metadata", 80): set(),
        ("kubernetes", 6443): set(),  # no autoscaler
    },
    # The values name no peers: anywhere, but only at these ports.
    "defaults": {
        DNS: RAY | {"maintenance", "publish", "test", "triton"},
        ("s3", 443): GALLERY | {"maintenance", "publish", "triton", "head"},
        ("kubernetes", 6443): {"head"},
        ("internet", 80): set(),
        ("pod-identity", 80): set(),
        ("internet", 8000): set(),
        ("collector", 4318): set(),
        ("stranger", 8080): set(),
    },
}


def role(pod: Pod) -> str:
    return pod.labels["app.kubernetes.io/component"]


def endpoints(objects: tuple[Object, ...]) -> dict[str, Endpoint]:
    return {
        role(pod): Endpoint(
            pod.name,
            NAMESPACE,
            pod.labels,
            ports={name: (number, "TCP") for name, number in pod.ports().items()},
        )
        for pod in pods(objects)
    }


def who_reaches(helm: Helm, variant: str, name: str, port: int, protocol: str = "TCP") -> set[str]:
    """Of this release, of another one beside it in the namespace, and of all others."""
    objects = helm.template(files=[VARIANTS[variant]])
    ours = endpoints(objects)
    beside = endpoints(helm.template(files=[VARIANTS[variant]], release="beside"))
    known = {**ours, **{f"beside-{each}": pod for each, pod in beside.items()}, **OTHERS}
    sources = ours if name in OTHERS else known
    judged = []
    # Twice: whether an address block matches pods depends on the network plugin.
    for address in (None, "10.1.2.3"):
        placed = {n: dataclasses.replace(e, ip=e.ip or address) for n, e in known.items()}
        judged.append(
            {
                source
                for source in sources
                if source != name
                and allows(
                    objects, placed[source], placed[name], port, protocol, namespace=NAMESPACE
                )
            }
        )
    assert judged[0] == judged[1]
    return judged[0]


def test_the_table_is_of_all_pods(helm4: Helm) -> None:
    assert set(endpoints(helm4.template(files=[VARIANTS["everything"]]))) == INSIDE
    assert {name for name, _ in INBOUND} == INSIDE


@pytest.mark.parametrize(("name", "port"), INBOUND, ids=str)
def test_who_comes_in(helm4: Helm, name: str, port: int) -> None:
    assert who_reaches(helm4, "everything", name, port) == INBOUND[name, port] - {name}


@pytest.mark.parametrize(
    ("variant", "name", "port"),
    [(variant, *where) for variant, table in OUTBOUND.items() for where in table],
    ids=str,
)
def test_who_gets_out(helm4: Helm, variant: str, name: str, port: int) -> None:
    protocols = ("TCP", "UDP") if port == 53 else ("TCP",)
    for protocol in protocols:
        found = who_reaches(helm4, variant, name, port, protocol)
        assert found == OUTBOUND[variant][name, port], protocol


def test_nothing_but_names_is_asked_by_udp(helm4: Helm) -> None:
    for name, port in INBOUND:
        beyond = who_reaches(helm4, "everything", name, port, "UDP") - RAY
        assert beyond == set()


def test_without_policies_all_is_open(helm4: Helm) -> None:
    objects = helm4.template({"networkPolicy": {"enabled": False}}, files=[VARIANTS["everything"]])
    head = endpoints(objects)["head"]
    assert allows(objects, OTHERS["stranger"], head, 6379, namespace=NAMESPACE)
