"""People are enrolled, identified and erased through the Service and through the Ingress."""

from __future__ import annotations

import dataclasses

import pytest

from tests.cluster.caller import PHOTO, Caller
from tests.cluster.cluster import Cluster, names

ID = 2576
_ENROLMENT = [f"images=@/app/data/{ID}/photo_{number:02}.jpg" for number in range(1, 6)]


def test_the_image_answers_with_the_sources_that_are_tested(release: Caller) -> None:
    from serving import __version__

    status, document = release.ask("GET", "/openapi.json")
    assert (status, document["info"]["version"]) == (200, __version__)


@pytest.mark.parametrize("way", ["service", "ingress"])
def test_a_person_is_enrolled_identified_and_erased(release: Caller, way: str) -> None:
    if way == "ingress":
        release = dataclasses.replace(release, url=_of_the_ingress(release.cluster))
    assert _identified(release) is None
    status, report = release.ask("POST", "/generate", f"id={ID}", *_ENROLMENT)
    assert status == 200, report
    assert _identified(release) == ID
    status, receipt = release.ask("DELETE", f"/identities/{ID}?erase=true")
    assert status == 200, receipt
    assert _identified(release) is None


def test_without_a_key_nobody_is_identified(release: Caller) -> None:
    stranger = dataclasses.replace(release, key="")
    assert stranger.ask("POST", "/infer", f"image=@{PHOTO}")[0] == 401
    assert stranger.ask("GET", "/healthz")[0] == 200


def _identified(caller: Caller) -> int | None:
    status, answer = caller.ask("POST", "/infer", f"image=@{PHOTO}")
    assert status == 200, answer
    (face,) = answer["faces"]
    return face["id"]  # type: ignore[no-any-return]


def _of_the_ingress(cluster: Cluster) -> str:
    """Its host leads to the controller."""
    if "skipper" not in names(cluster.select("ingressclasses")):
        pytest.skip("the cluster has no Skipper; tests/cluster/README.md says where it comes from")
    (rule,) = cluster.get("ingress", cluster.release)["spec"]["rules"]
    return f"http://{rule['host']}"
