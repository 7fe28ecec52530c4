"""The evaluator of NetworkPolicies itself, against what the API promises."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.chart import network
from tests.chart.network import Endpoint
from tests.support.chart.helm import Object

HOME = "home"


def policy(text: str) -> Object:
    spec = yaml.safe_load(text)
    return {"kind": "NetworkPolicy", "metadata": {"name": "p"}, "spec": spec}


def pod(name: str, namespace: str = HOME, **more: Any) -> Endpoint:
    return Endpoint(name, namespace, {"app": name, **more.pop("labels", {})}, **more)


def allows(
    policies: list[Object], source: Endpoint, to: Endpoint, port: int = 80, protocol: str = "TCP"
) -> bool:
    return network.allows(policies, source, to, port, protocol, namespace=HOME)


A, B, FAR = pod("a"), pod("b"), pod("a", "far", namespace_labels={"team": "far"})
OUTSIDE = Endpoint("outside", ip="203.0.113.7")


def test_without_a_policy_all_is_open() -> None:
    assert allows([], A, B)
    assert allows([], OUTSIDE, A)


def test_a_policy_without_rules_closes_what_it_selects() -> None:
    closed = policy("{podSelector: {}, policyTypes: [Ingress]}")
    assert not allows([closed], A, B)
    assert allows([closed], A, FAR)  # of another namespace
    assert allows([closed], A, OUTSIDE)  # egress is not its matter


def test_both_directions_must_allow() -> None:
    out = policy("{podSelector: {matchLabels: {app: a}}, policyTypes: [Egress]}")
    come = policy("{podSelector: {matchLabels: {app: b}}, ingress: [{}]}")
    assert not allows([out, come], A, B)
    assert allows([out, come], B, A)
    assert allows([come], A, B)


def test_policies_add_up() -> None:
    closed = policy("{podSelector: {}, policyTypes: [Ingress, Egress]}")
    a_out = policy("{podSelector: {matchLabels: {app: a}}, policyTypes: [Egress], egress: [{}]}")
    b_in = policy("{podSelector: {matchLabels: {app: b}}, ingress: [{}]}")
    assert not allows([closed, a_out], A, B)
    assert allows([closed, a_out, b_in], A, B)
    assert not allows([closed, a_out, b_in], B, A)


def test_types_by_default() -> None:
    """Ingress always; Egress only when there is a rule of it."""
    assert not allows([policy("{podSelector: {}}")], B, A)
    assert allows([policy("{podSelector: {}}")], A, OUTSIDE)
    egress = policy("{podSelector: {}, egress: [{to: [{podSelector: {matchLabels: {app: b}}}]}]}")
    assert not allows([egress], A, OUTSIDE)


@pytest.mark.parametrize(
    ("peer", "sources"),
    [
        ("{podSelector: {}}", {"a"}),
        ("{podSelector: {matchLabels: {app: b}}}", set()),
        ("{namespaceSelector: {}}", {"a", "far"}),
        ("{namespaceSelector: {matchLabels: {team: far}}}", {"far"}),
        ("{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: far}}}", {"far"}),
        ("{namespaceSelector: {}, podSelector: {matchLabels: {app: a}}}", {"a", "far"}),
        (
            "{namespaceSelector: {matchLabels: {team: far}}, podSelector: {matchLabels: {x: y}}}",
            set(),
        ),
        ("{podSelector: {matchExpressions: [{key: app, operator: In, values: [a]}]}}", {"a"}),
        ("{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [a]}]}}", set()),
        ("{podSelector: {matchExpressions: [{key: app, operator: Exists}]}}", {"a"}),
        ("{podSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}}", set()),
        ("{ipBlock: {cidr: 203.0.113.0/24}}", {"outside"}),
        ("{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.0/28]}}", set()),
        ("{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}", {"outside"}),
        ("{ipBlock: {cidr: '::/0'}}", set()),
    ],
)
def test_peers(peer: str, sources: set[str]) -> None:
    come = [policy(f"{{podSelector: {{matchLabels: {{app: b}}}}, ingress: [{{from: [{peer}]}}]}}")]
    endpoints = {"a": A, "far": FAR, "outside": OUTSIDE}
    assert {name for name, source in endpoints.items() if allows(come, source, B)} == sources


def test_an_address_block_matches_a_pod_whose_address_is_known() -> None:
    come = [policy("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]}")]
    assert allows(come, pod("a", ip="10.1.2.3"), B)
    assert not allows(come, A, B)


@pytest.mark.parametrize(
    ("ports", "allowed"),
    [
        ("[]", [("TCP", 80), ("TCP", 8080), ("TCP", 9000), ("UDP", 53)]),
        ("[{port: 80}]", [("TCP", 80)]),
        ("[{port: 53, protocol: UDP}]", [("UDP", 53)]),
        ("[{protocol: UDP}]", [("UDP", 53)]),
        ("[{port: web}]", [("TCP", 8080)]),
        ("[{port: 8000, endPort: 9000}]", [("TCP", 8080), ("TCP", 9000)]),
        ("[{port: 80}, {port: web}]", [("TCP", 80), ("TCP", 8080)]),
    ],
)
def test_ports(ports: str, allowed: list[tuple[str, int]]) -> None:
    web = pod("b", ports={"web": (8080, "TCP")})
    come = [policy(f"{{podSelector: {{}}, ingress: [{{ports: {ports}}}]}}")]
    asked = [("TCP", 80), ("TCP", 8080), ("TCP", 9000), ("UDP", 53)]
    assert [(p, n) for p, n in asked if allows(come, A, web, n, p)] == allowed


def test_the_ports_of_egress_are_the_destinations() -> None:
    web = pod("b", ports={"web": (8080, "TCP")})
    out = [policy("{podSelector: {matchLabels: {app: a}}, egress: [{ports: [{port: web}]}]}")]
    assert allows(out, A, web, 8080)
    assert not allows(out, A, OUTSIDE, 8080)


def test_a_policy_of_another_namespace_is_none_of_ours() -> None:
    elsewhere = policy("{podSelector: {}, policyTypes: [Ingress]}")
    elsewhere["metadata"]["namespace"] = "far"
    assert allows([elsewhere], A, B)
    assert not allows([elsewhere], A, FAR)
