"""Who may talk to whom, by the rendered NetworkPolicies: the whole table, not samples."""

from __future__ import annotations

import dataclasses

import pytest

from tests.chart.network import Endpoint, allows
from tests.support.chart.helm import NAMESPACE, Helm, Object, Values
from tests.support.chart.objects import Pod, pods
from tests.support.chart.values import VARIANTS

STAGES = {"ingress", "decode", "detect", "match"}
RAY = STAGES | {"head"}
GALLERY = {"ingress", "match"}
JOBS = {"publish", "maintenance", "bucket"}
INSIDE = RAY | JOBS | {"triton", "minio", "test", "batch"}
INTERNAL = 10_002  # of any Ray process

OPERATORS = {"operator", "kustomized-operator"}
_COMPONENT = {"app.kubernetes.io/component": "kuberay-operator"}
HELM_OPERATOR = {"app.kubernetes.io/name": "kuberay-operator", **_COMPONENT}
KUSTOMIZE_OPERATOR = {"app.kubernetes.io/name": "kuberay", **_COMPONENT}

# Pods of others, and addresses outside of the cluster.
OTHERS = {
    "traefik": Endpoint("traefik", "traefik", {"app.kubernetes.io/name": "traefik"}),
    # KubeRay has two ways of installing, which label its pods differently.
    "operator": Endpoint("operator", "kuberay-system", HELM_OPERATOR),
    "kustomized-operator": Endpoint("kustomized-operator", "kuberay-system", KUSTOMIZE_OPERATOR),
    "impostor": Endpoint("impostor", "elsewhere", {**KUSTOMIZE_OPERATOR, **HELM_OPERATOR}),
    "impostor-here": Endpoint("impostor-here", NAMESPACE, {**KUSTOMIZE_OPERATOR, **HELM_OPERATOR}),
    "prometheus": Endpoint("prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"}),
    "collector": Endpoint("collector", "telemetry", {"app": "collector"}),
    "dns": Endpoint("dns", "kube-system", {"k8s-app": "kube-dns"}),
    "redis": Endpoint("redis", "redis", {"app": "redis"}),
    "their-triton": Endpoint("their-triton", "models", {"app": "triton"}),
    "stranger": Endpoint("stranger", NAMESPACE, {"app": "stranger"}),
    "far-stranger": Endpoint("far-stranger", "elsewhere", {"app": "stranger"}),
    "kubernetes": Endpoint("kubernetes", ip="192.0.2.1"),
    "s3": Endpoint("s3", ip="203.0.113.7"),
    "webhook": Endpoint("webhook", ip="203.0.113.80"),
    "photos": Endpoint("photos", ip="203.0.113.90"),
    "pod-identity": Endpoint("pod-identity", ip="169.254.170.23"),
    "pod-identity-6": Endpoint("pod-identity-6", ip="fd00:ec2::23"),
    "node-metadata": Endpoint("node-metadata", ip="169.254.169.254"),
    "internet": Endpoint("internet", ip="198.51.100.9"),
}

Table = dict[tuple[str, int], set[str]]

# Destination and port -> those who may connect. Whoever is not named may not.
INBOUND: Table = {
    **{("head", port): RAY for port in (6379, INTERNAL)},
    ("head", 8265): RAY | OPERATORS,
    ("head", 8000): RAY | OPERATORS,
    ("head", 8080): RAY | {"prometheus"},
    **{(stage, 8000): RAY | {"traefik", "test", "batch"} for stage in STAGES},
    **{(stage, 8080): RAY | {"prometheus"} for stage in STAGES},
    **{(stage, INTERNAL): RAY for stage in STAGES},
    ("triton", 8080): GALLERY,
    ("triton", 9000): set(),
    ("triton", 8002): {"prometheus"},
    ("minio", 9000): GALLERY | JOBS | {"triton", "batch"},
    ("minio", 9001): set(),
    **{(job, port): set() for job in (*JOBS, "test", "batch") for port in (8000, 8080)},
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
        ("photos", 9443): {"batch"},
        ("photos", 443): set(),
        ("internet", 9443): set(),
        ("webhook", 443): {"ingress"},
        ("webhook", 80): set(),
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
    # The values name no peers of S3: anywhere but at link-local addresses, and only at its port.
    "defaults": {
        DNS: RAY | {"maintenance", "publish", "test", "triton"},
        ("s3", 443): GALLERY | {"maintenance", "publish", "triton", "head"},
        ("kubernetes", 6443): {"head"},
        # No photo leaves by a name, and no stage but those that reach S3 by anything.
        ("internet", 53): set(),
        ("internet", 5353): set(),
        ("internet", 443): GALLERY | {"maintenance", "publish", "triton", "head"},
        ("internet", 80): set(),
        **{("node-metadata", port): set() for port in (53, 80, 988)},
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


@pytest.mark.parametrize(("name", "port"), sorted(INBOUND), ids=str)
def test_who_comes_in(helm4: Helm, name: str, port: int) -> None:
    assert who_reaches(helm4, "everything", name, port) == INBOUND[name, port] - {name}


@pytest.mark.parametrize(
    ("name", "port"), sorted(key for key in INBOUND if key[0] in RAY | {"triton"}), ids=str
)
def test_who_comes_in_by_default(helm4: Helm, name: str, port: int) -> None:
    """Nobody by what it says of itself: it has to be in the namespace that is named."""
    there = INSIDE - {"minio", "bucket", "batch"}
    assert who_reaches(helm4, "defaults", name, port) == (
        INBOUND[name, port] & (there | OTHERS.keys())
    ) - {name}


@pytest.mark.parametrize(
    ("variant", "name", "port"),
    [(variant, *where) for variant, table in OUTBOUND.items() for where in table],
    ids=str,
)
def test_who_gets_out(helm4: Helm, variant: str, name: str, port: int) -> None:
    protocols = ("TCP", "UDP") if port in (53, 5353) else ("TCP",)
    for protocol in protocols:
        found = who_reaches(helm4, variant, name, port, protocol)
        assert found == OUTBOUND[variant][name, port], protocol


def test_a_job_over_buckets_reaches_the_service_and_s3_alone(helm4: Helm) -> None:
    job = {"name": "a", "kind": "batch", "source": "s3://p", "out": "s3://r"}
    values = {"batch": {"jobs": [{**job, "keySecret": {"name": "key"}}]}}
    objects = helm4.template(values, files=[VARIANTS["defaults"]])
    pods_ = endpoints(objects)
    for name in INSIDE & pods_.keys() - {"batch"}:
        for port in (6379, 8000, 8080, 8265, 9000, INTERNAL):
            found = allows(objects, pods_["batch"], pods_[name], port, namespace=NAMESPACE)
            assert found is (name in STAGES and port == 8000), (name, port)
    for port in (80, 443, 8000, 9000):
        found = allows(objects, pods_["batch"], OTHERS["s3"], port, namespace=NAMESPACE)
        assert found is (port == 443), port


def test_nothing_but_names_is_asked_by_udp(helm4: Helm) -> None:
    for name, port in INBOUND:
        beyond = who_reaches(helm4, "everything", name, port, "UDP") - RAY
        assert beyond == set()


def test_without_policies_all_is_open(helm4: Helm) -> None:
    objects = helm4.template({"networkPolicy": {"enabled": False}}, files=[VARIANTS["everything"]])
    head = endpoints(objects)["head"]
    assert allows(objects, OTHERS["stranger"], head, 6379, namespace=NAMESPACE)


def test_the_port_of_s3_is_that_of_its_url_at_no_metadata(helm4: Helm) -> None:
    """By HTTP that is the port of the metadata, too, with the keys of the node."""
    objects = helm4.template(
        {"s3": {"endpoint": "http://s3.example.com"}}, files=[VARIANTS["defaults"]]
    )
    for name, source in endpoints(objects).items():
        for address in ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254"):
            metadata = Endpoint("metadata", ip=address)
            assert not allows(objects, source, metadata, 80, namespace=NAMESPACE), (name, address)
    match = endpoints(objects)["match"]
    assert allows(objects, match, OTHERS["s3"], 80, namespace=NAMESPACE)


# What is reached -> (values, who reaches it, the port of its Service, that of its pod).
BEHIND_SERVICES: dict[str, tuple[Values, set[str], int, int]] = {
    "S3": (
        {
            "s3": {"endpoint": "https://minio.tenant.svc"},
            "networkPolicy": {
                "s3Ports": [443, 9000],
                "apiServerTo": [{"ipBlock": {"cidr": "192.0.2.1/32"}}],
            },
        },
        GALLERY | {"maintenance", "publish", "triton"},
        443,
        9000,
    ),
    "Triton": (
        {
            "triton": {"create": False, "url": "http://x-predictor.models.svc"},
            "networkPolicy": {"tritonPorts": [80, 8080]},
        },
        GALLERY,
        80,
        8080,
    ),
    "the collector": (
        {
            "settings": {"tracing": {"endpoint": "http://collector.telemetry.svc"}},
            "networkPolicy": {"tracingPorts": [80, 4318]},
        },
        STAGES,
        80,
        4318,
    ),
    "Redis": (
        {
            "ray": {"gcsFaultTolerance": {"enabled": True, "redisAddress": "redis.redis.svc:6379"}},
            "networkPolicy": {"redisPorts": [6379, 16379]},
        },
        {"head"},
        6379,
        16379,
    ),
    "DNS": ({}, RAY | {"maintenance", "publish", "test", "triton"}, 53, 5353),
}


@pytest.mark.parametrize("what", BEHIND_SERVICES)
def test_a_service_with_another_port_than_its_pods(helm4: Helm, what: str) -> None:
    """Some network plugins judge the Service's address and port, most those of the pod."""
    values, expected, at_service, at_pod = BEHIND_SERVICES[what]
    objects = helm4.template(values, files=[VARIANTS["defaults"]])
    namespace = "kube-system" if what == "DNS" else "tenant"
    destination = Endpoint(what, namespace, {"app": what})
    for port in (at_service, at_pod):
        found = {
            name
            for name, source in endpoints(objects).items()
            if allows(objects, source, destination, port, namespace=NAMESPACE)
        }
        assert found == expected, port


@pytest.mark.parametrize("endpoint", ["http://old.example.com:9000", "https://new.example.com"])
def test_an_old_and_a_new_server_are_let_in_together(helm4: Helm, endpoint: str) -> None:
    """For the time between an upgrade of the policies and that of Ray's pods."""
    values = {"s3": {"endpoint": endpoint}, "networkPolicy": {"s3Ports": [9000, 443]}}
    objects = helm4.template(values, files=[VARIANTS["defaults"]])
    for name in GALLERY | {"maintenance", "publish", "triton"}:
        for port in (9000, 443):
            source = endpoints(objects)[name]
            assert allows(objects, source, OTHERS["s3"], port, namespace=NAMESPACE), (name, port)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("extraEgress", RAY),
        ("extraEgressJobs", {"maintenance", "publish"}),
        ("extraEgressTriton", {"triton"}),
    ],
)
def test_a_proxy_can_be_let_in_for_every_pod(helm4: Helm, value: str, expected: set[str]) -> None:
    rule = {"ports": [{"port": 3128}], "to": [{"ipBlock": {"cidr": "192.0.2.9/32"}}]}
    objects = helm4.template({"networkPolicy": {value: [rule]}}, files=[VARIANTS["defaults"]])
    proxy = Endpoint("proxy", ip="192.0.2.9")
    found = {
        name
        for name, source in endpoints(objects).items()
        if allows(objects, source, proxy, 3128, namespace=NAMESPACE)
    }
    assert found == expected
