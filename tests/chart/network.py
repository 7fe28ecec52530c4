"""NetworkPolicy semantics: may this endpoint connect to that one?

A connection needs the source's egress and the destination's ingress. A pod that no policy of a
direction selects is open in that direction; otherwise one rule of any of them has to allow it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.chart.helm import Object
from tests.support.chart.objects import matches

Rule = Mapping[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """A pod, or an address outside of the cluster.

    Attributes:
        labels: of the pod; None for an address that is no pod: no policy selects it.
        namespace_labels: also has ``kubernetes.io/metadata.name``, as every namespace has.
        ip: None: not known. Whether an ipBlock matches pods depends on the network plugin, so ask
            what must be allowed without, and what must be denied with an address.
        ports: of the pod: name -> (number, protocol).
    """

    name: str
    namespace: str = ""
    labels: Mapping[str, str] | None = None
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    ip: str | None = None
    ports: Mapping[str, tuple[int, str]] = field(default_factory=dict)


def allows(
    objects: Sequence[Object],
    source: Endpoint,
    destination: Endpoint,
    port: int,
    protocol: str = "TCP",
    *,
    namespace: str,
) -> bool:
    """Whether the policies among ``objects`` let it through.

    Args:
        namespace: of policies that name none.
    """
    policies = [
        (item["metadata"].get("namespace", namespace), item["spec"])
        for item in objects
        if item["kind"] == "NetworkPolicy"
    ]
    for direction, pod, peer in (("Egress", source, destination), ("Ingress", destination, source)):
        selecting = [
            (home, spec)
            for home, spec in policies
            if _selects(home, spec, pod) and direction in _types(spec)
        ]
        peers, way = ("to", "egress") if direction == "Egress" else ("from", "ingress")
        if selecting and not any(
            _ports_match(rule.get("ports"), destination, port, protocol)
            and _peers_match(rule.get(peers), peer, home)
            for home, spec in selecting
            for rule in spec.get(way) or []
        ):
            return False
    return True


def _selects(home: str, spec: Rule, pod: Endpoint) -> bool:
    return (
        pod.labels is not None
        and pod.namespace == home
        and matches(spec.get("podSelector") or {}, pod.labels)
    )


def _types(spec: Rule) -> Sequence[str]:
    # By default Ingress always, Egress when there is a rule for it.
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _ports_match(
    ports: Sequence[Rule] | None, destination: Endpoint, port: int, protocol: str
) -> bool:
    if not ports:
        return True
    for allowed in ports:
        if allowed.get("protocol", "TCP") != protocol:
            continue
        match allowed.get("port"):
            case None:
                return True
            case str(name):
                if destination.ports.get(name) == (port, protocol):
                    return True
            case int(first):
                if first <= port <= allowed.get("endPort", first):
                    return True
    return False


def _peers_match(peers: Sequence[Rule] | None, other: Endpoint, home: str) -> bool:
    return not peers or any(_peer_matches(peer, other, home) for peer in peers)


def _peer_matches(peer: Rule, other: Endpoint, home: str) -> bool:
    if block := peer.get("ipBlock"):
        return other.ip is not None and _inside(other.ip, block)
    if other.labels is None:
        return False
    if "namespaceSelector" in peer:
        labels = {"kubernetes.io/metadata.name": other.namespace, **other.namespace_labels}
        if not matches(peer["namespaceSelector"] or {}, labels):
            return False
    elif other.namespace != home:
        return False
    return "podSelector" not in peer or matches(peer["podSelector"] or {}, other.labels)


def _inside(ip: str, block: Rule) -> bool:
    address = ipaddress.ip_address(ip)
    return address in ipaddress.ip_network(block["cidr"]) and not any(
        address in ipaddress.ip_network(hole) for hole in block.get("except", [])
    )
