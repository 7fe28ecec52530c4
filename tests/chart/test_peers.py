"""Lists of who may call and what may be called: an empty one is nobody, or says otherwise."""

from __future__ import annotations

import json

import pytest

from tests.support.chart.helm import CHART, Helm, HelmError, Object
from tests.support.chart.objects import of_kind
from tests.support.chart.values import VARIANTS, load

POLICY = load(CHART / "values.yaml")["networkPolicy"]
LISTS = [name for name in POLICY if name.endswith(("To", "From"))]
# By values.yaml "anywhere when empty".
ANYWHERE = {
    "s3To",
    "tritonTo",
    "tracingTo",
    "redisTo",
    "apiServerTo",
    "webhookTo",
    "livenessTo",
    "batchTo",
}
REFUSED = {"dnsTo"}


def open_to_all(objects: tuple[Object, ...]) -> set[str]:
    """The rules without a peer, or with any address or any namespace."""
    found = set()
    for policy in of_kind(objects, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []) + policy["spec"].get("egress", []):
            peers = rule.get("from", rule.get("to")) or [{}]
            if any(
                not peer
                or peer.get("namespaceSelector") == {}
                or peer.get("ipBlock", {}).get("cidr") in ("0.0.0.0/0", "::/0")
                for peer in peers
            ):
                found.add(policy["metadata"]["name"] + json.dumps(rule, sort_keys=True))
    return found


@pytest.mark.parametrize("variant", ["defaults", "everything"])
@pytest.mark.parametrize("name", [name for name in LISTS if name not in ANYWHERE | REFUSED])
def test_an_empty_list_lets_nobody_else_in_or_out(helm4: Helm, name: str, variant: str) -> None:
    before = open_to_all(helm4.template(files=[VARIANTS[variant]]))
    emptied = helm4.template({"networkPolicy": {name: []}}, files=[VARIANTS[variant]])
    assert open_to_all(emptied) <= before


@pytest.mark.parametrize("name", sorted(ANYWHERE))
def test_a_list_that_is_anywhere_when_empty_says_so(name: str) -> None:
    table = (CHART / "README.md").read_text()
    row = next(line for line in table.splitlines() if f"`networkPolicy.{name}`" in line[:60])
    assert POLICY[name] == []
    assert "anywhere" in row
    assert "when empty" in row


@pytest.mark.parametrize("value", [[], None])
def test_names_are_not_asked_of_everybody(helm: Helm, value: object) -> None:
    with pytest.raises(HelmError, match="dnsTo"):
        helm.template({"networkPolicy": {"dnsTo": value}}, files=[VARIANTS["defaults"]])


def test_a_peer_that_names_nobody_is_refused(helm: Helm) -> None:
    with pytest.raises(HelmError, match=r"httpFrom[./]0"):
        helm.template({"networkPolicy": {"httpFrom": [{}]}}, files=[VARIANTS["defaults"]])
