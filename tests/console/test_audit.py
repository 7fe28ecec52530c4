"""The audit and the retention in a real browser."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import httpx
from selenium.webdriver.common.keys import Keys

from tests.console.browser import Page
from tests.console.people import ARDERN, MACRON, enrol, person_of
from tests.support.images import PORTRAIT
from tests.support.stacks import KEYS


def records(page: Page) -> list[str]:
    return [row.text for row in page.all(".audit tbody tr")]


def search(page: Page, **fields: str) -> list[str]:
    """The records that are shown for these filters."""
    for label, text in fields.items():
        page.fill(label.replace("_", " "), text)
    page.click("Search")
    status = "#view-audit .stack > p[role=status]"
    page.until(lambda: re.search(r"records?( was found)?\.$", page.text(status)), "no answer")
    return records(page)


def test_who_looked_up_whom_is_found(page: Page, api: httpx.Client) -> None:
    enrol(api, 2576, *ARDERN[:3], name="Jacinda Ardern")
    kiosk = {"Authorization": f"Bearer {KEYS['kiosk']}"}
    looked_up = api.post("/infer", headers=kiosk, files={"image": PORTRAIT.read_bytes()})
    request = looked_up.raise_for_status().headers["x-request-id"]
    page.open("audit", key=KEYS["auditor"])

    # Its object is written within a second.
    (record,) = page.until(lambda: search(page, Request_id=request), "the record does not come")
    assert "Look-up of a photo 1 face" in record
    assert "id 2576" in record
    assert "kiosk" in record
    page.tab_to("Details of Look-up of a photo")
    page.press(Keys.ENTER)
    page.shows("Face 1: id 2576 (0.", ".audit details")
    page.shows(request, ".audit details")

    assert search(page, Request_id="nonsense") == []
    page.shows("No record was found.", "#view-audit")
    found = search(page, Request_id="", Id_of_a_person="2576", By_the_key="kiosk")
    assert record.split()[:6] in [text.split()[:6] for text in found]
    assert all("kiosk" in text for text in found)
    page.fill("Id of a person", "seven")
    page.click("Search")
    page.shows("The id of a person is a whole number.", "#view-audit .trouble")


def test_what_is_whole_is_said_to_be(page: Page, api: httpx.Client) -> None:
    enrol(api, 2576, *ARDERN[:1])
    page.open("audit", key=KEYS["auditor"])
    page.tab_to("Check that nothing is missing or changed")
    page.press(Keys.ENTER)
    page.shows("Nothing is missing, and nothing was changed.", "#view-audit .note")


def test_a_key_without_the_right_reads_no_audit(page: Page, api: httpx.Client) -> None:
    page.open("audit", key=KEYS["counter"])
    page.shows("it needs the scope audit", "#view-audit .trouble")
    assert records(page) == []


def test_whose_retention_ends_soon_is_found_and_prolonged(page: Page, api: httpx.Client) -> None:
    enrol(api, 2576, *ARDERN[:3], name="Jacinda Ardern")
    enrol(api, 101, MACRON, name="Emmanuel Macron")
    soon = (datetime.now(timezone.utc) + timedelta(days=20)).strftime("%Y-%m-%dT00:00:00Z")
    consent = {"kind": "consent", "reference": "form 12", "date": "2026-01-31"}
    patch = {"expires_at": soon, "legal_basis": consent}
    api.patch("/identities/2576", json=patch).raise_for_status()
    page.open("people", key=KEYS["boss"])
    page.shows("2 people", "#view-people")
    page.shows("Consent of 2026-01-31, form 12", ".people .kept")
    page.tab_to("Show")
    page.press("Ends within 30")
    page.shows("1 person", "#view-people")
    assert page.text(".people .id") == "2576"
    page.click("Jacinda Ardern, id 2576")
    field = page.field("Keep until")
    page.driver.execute_script("arguments[0].value = '2099-01-31'", field)
    page.click("Save")
    page.until(
        lambda: str(person_of(api, 2576)["expires_at"]).startswith("2099-"), "it is not prolonged"
    )
    page.press(Keys.ESCAPE)
    page.shows("Nobody’s retention ends by then.", "#view-people")
