"""The page at a service that refuses enrolments with conflicts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.console.browser import Page, chromium
from tests.console.people import ARDERN, DIALOG_FILES, MACRON, enrol, person_of
from tests.support.stacks import Stack


@pytest.fixture(scope="module")
def url(_browser: None, tuned_stack: Stack) -> str:
    return tuned_stack.settings.url


@pytest.fixture
def service(url: str) -> Iterator[httpx.Client]:
    """Somebody is enrolled under the id 2576, and nobody else."""
    with httpx.Client(base_url=url, timeout=60) as client:
        client.delete("/identities", params={"confirm": "all"}).raise_for_status()
        enrol(client, 2576, *ARDERN[:3], name="Jacinda Ardern")
        yield client


def test_nothing_is_written_unless_it_is_forced(service: httpx.Client) -> None:
    files = [("images", ("photo", photo.read_bytes())) for photo in (ARDERN[3], MACRON)]
    refused = service.post("/generate", data={"id": "5"}, files=files)
    assert refused.status_code == 409
    problem = refused.json()
    assert problem["type"] == "urn:faces:problem:enrolment-conflict"
    told = {(c["type"], tuple(c["images"]), c["id"]) for c in problem["conflicts"]}
    assert told == {
        ("other-person", (0,), None),
        ("other-person", (1,), None),
        ("already-enrolled", (0,), 2576),
    }
    assert service.get("/identities").json()["total"] == 1
    forced = service.post("/generate", data={"id": "5", "force": "true"}, files=files)
    assert forced.raise_for_status().json()["photos"] == 2


@pytest.mark.parametrize("way", ["Add to Jacinda Ardern (2576) instead", "Enrol all the same"])
def test_the_ways_out_of_a_refusal(
    service: httpx.Client, url: str, tmp_path: Path, way: str
) -> None:
    with chromium(tmp_path / "profile") as driver:
        page = Page(driver, url)
        page.open("people")
        page.click("Enrol a person")
        page.fill("Id", "5")
        page.choose(*ARDERN[3:5], selector=DIALOG_FILES)
        page.click("Enrol")
        page.shows(
            "Jacinda Ardern (2576), who is enrolled already: similarity", "dialog .conflicts"
        )
        assert person_of(service, 5) == {}
        assert person_of(service, 2576)["photos"] == 3
        page.click(way)
        page.shows("2 of 2 photos sent, 2 used", "dialog")
        assert page.complaints() == []
    added = "instead" in way
    assert person_of(service, 2576)["photos"] == (5 if added else 3)
    assert bool(person_of(service, 5)) is not added
