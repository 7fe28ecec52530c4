"""What the page says of faces that are taken for attacks, at a service without stages: the project
brings no model that would take a photo for one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.model.liveness import Liveness
from serving.pipeline.reports import NOT_LIVE, NOT_LIVE_REASON, NoFaceInAny, PhotoReport
from serving.settings import AuditSettings
from serving.trail.paging import Reader
from serving.trail.writer import Trail
from tests.console.browser import Page, chromium
from tests.console.people import DIALOG_FILES, MACRON
from tests.support.api import Api
from tests.support.compreface import over
from tests.support.galleries import open_gallery
from tests.support.images import PORTRAIT
from tests.support.listening import listening
from tests.support.memory_store import MemoryStore
from tests.support.stages import faces
from tests.support.trails import MemoryTrails


@pytest.fixture
def trails() -> MemoryTrails:
    made = MemoryTrails()
    made.now = time.time()
    return made


@pytest.fixture
def trail(trails: MemoryTrails) -> Trail:
    return trails.start()


@pytest.fixture
def service(trails: MemoryTrails, trail: Trail) -> Api:
    """Whose every face is Ada's, with a trail that is searched."""
    audit = AuditSettings(identifications=True)
    api = Api(audit=audit, trail=trail, records=Reader(lambda: trails.places))
    return over(open_gallery(MemoryStore()), api)


@pytest.fixture
def page(_browser: None, service: Api, tmp_path: Path) -> Iterator[Page]:
    with listening(service.app) as url, chromium(tmp_path / "profile") as driver:
        page = Page(driver, url)
        yield page
        assert page.complaints() == []


def test_an_attack_has_no_name_anywhere(page: Page, service: Api, trail: Trail) -> None:
    service.pipeline.verdict = Liveness(False, 0.1)
    page.open()
    page.identify(PORTRAIT)
    page.shows("1 face, 0 named")
    assert (page.text(".face .who"), page.text(".face .line")) == ("Not live", NOT_LIVE_REASON)
    page.click_on(".face summary")
    page.shows(f"No candidates. {NOT_LIVE_REASON}", ".face")
    assert "Ada" not in page.text()

    page.go("compare")
    page.hand_over("drop", PORTRAIT, MACRON)
    page.shows("Not live", ".verdict .summary")
    for number in ("first", "second"):
        assert f"The {number} photo: {NOT_LIVE_REASON}" in page.text(".verdict")
    assert "Similarity" not in page.text(".verdict")

    assert trail.flush(10)
    page.go("audit")
    page.until(lambda: len(page.all(".audit tbody tr")) == 2, "there are not both records")
    compared, looked_up = (row.text for row in page.all(".audit tbody tr"))
    assert "Comparison of two photos not live" in compared
    assert "nobody" in looked_up
    for summary in page.all(".audit summary"):
        summary.click()
    page.shows("Face 1: not live", ".audit details")


def test_live_faces_are_named_and_compared(page: Page, service: Api) -> None:
    service.pipeline.verdict = Liveness(True, 0.9)
    page.open()
    page.identify(PORTRAIT)
    page.shows("1 face, 1 named")
    assert page.text(".face .who") == "Ada"
    page.go("compare")
    page.hand_over("drop", PORTRAIT, MACRON)
    page.shows("The same person", ".verdict .summary")
    assert "Not live" not in page.text()


def test_an_attack_is_not_offered_for_enrolment_all_the_same(page: Page, service: Api) -> None:
    report = PhotoReport(faces((1, 2, 30, 40)), 1, NOT_LIVE_REASON, NOT_LIVE)
    service.pipeline.failure = NoFaceInAny([report])
    page.open("people")
    page.click("Enrol a person")
    page.fill("Id", "5")
    page.choose(PORTRAIT, selector=DIALOG_FILES)
    page.click("Enrol")
    page.shows("1 of 1 photo sent, 0 used", "dialog")
    page.shows(f"was not used. {NOT_LIVE_REASON}", "dialog .unused")
    page.named("Close")
    assert "all the same" not in page.text("dialog")
