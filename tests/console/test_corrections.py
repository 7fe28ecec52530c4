"""Corrections in a real browser: a wrong name, a photo of somebody else, merges and pairs."""

from __future__ import annotations

import httpx
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.console.browser import Page
from tests.console.people import ARDERN, MACRON, enrol, person_of
from tests.support.images import DATA
from tests.support.stacks import KEYS

OBAMA = DATA / "people" / "102" / "obama.jpg"
COLLINS = DATA / "people" / "104" / "collins.jpg"


def open_face(page: Page) -> None:
    page.all(".face summary")[0].click()


def distinct_of(api: httpx.Client, person: int) -> list[int]:
    return [pair["id"] for pair in person_of(api, person)["distinct"]]


def test_a_wrong_name_is_corrected_where_it_is_shown(page: Page, api: httpx.Client) -> None:
    enrol(api, 101, MACRON, name="Emmanuel Macron")
    enrol(api, 102, OBAMA, COLLINS, name="Barack Obama")  # a photo of somebody else
    page.open(key=KEYS["counter"])
    page.identify(COLLINS)
    page.shows("1 face, 1 named")
    assert page.text(".face .who") == "Barack Obama"
    open_face(page)
    page.click("This is not Barack Obama (102)")
    page.shows("Who is it, if not Barack Obama (102)?", "dialog")
    page.click("Look at the photos of Barack Obama (102)")
    page.shows("2 photos, the least like the others first", "dialog:last-of-type")
    page.press(Keys.ESCAPE)
    page.click("It is Emmanuel Macron (101)")
    # The face can be added to the right record at once.
    page.shows("Add to Emmanuel Macron (101)", "dialog h2")
    page.press(Keys.ESCAPE)
    page.until(lambda: distinct_of(api, 102) == [101], "the pair is not noted")

    # It is listed with both, and is taken back.
    page.go("people")
    page.click("Emmanuel Macron, id 101")
    page.shows("Barack Obama (102) is another person", "dialog .pairs")
    page.tab_to("Take back: 102 is another person")
    page.press(Keys.ENTER)
    page.shows("Nobody is noted as another person.", "dialog")
    assert distinct_of(api, 101) == []


def test_a_photo_of_somebody_else_is_moved_and_moved_back(page: Page, api: httpx.Client) -> None:
    enrol(api, 102, OBAMA, COLLINS, name="Barack Obama")
    enrol(api, 104, COLLINS, name="Eileen Collins")
    page.open("people", key=KEYS["counter"])
    page.click("Barack Obama, id 102")
    page.tab_to("A photo shows somebody else")
    page.press(Keys.ENTER)
    page.shows("2 photos", "dialog:last-of-type")
    page.tab_to("Move photo 1")
    page.press(Keys.ENTER)
    page.shows("Whose is photo 1?", "dialog:last-of-type")
    page.press("104")  # the focus is in the field
    page.shows("This is Eileen Collins (104).", "dialog:last-of-type")
    page.press(Keys.ENTER)
    page.shows("The photo is one of Eileen Collins (104) now.", "dialog:last-of-type")
    assert (person_of(api, 102)["photos"], person_of(api, 104)["photos"]) == (1, 2)
    assert page.driver.switch_to.active_element.text == "Undo"
    page.press(Keys.ENTER)
    page.shows("The photo is back where it was.", "dialog:last-of-type")
    assert (person_of(api, 102)["photos"], person_of(api, 104)["photos"]) == (2, 1)


def test_a_merge_is_taken_apart_and_that_is_undone(page: Page, api: httpx.Client) -> None:
    enrol(api, 7, *ARDERN[:2], name="J. Ardern")
    enrol(api, 2576, *ARDERN[2:6], name="Jacinda Ardern")
    api.post("/identities/2576/merge", json={"from": [7]}).raise_for_status()
    page.open("people", key=KEYS["counter"])
    page.click("Jacinda Ardern, id 2576")
    page.click("Take a merge apart")
    page.shows("Who was merged into this person last is a person again", "dialog:last-of-type")
    page.press(Keys.ENTER)  # a key too many: the focus is on the way out
    assert person_of(api, 7) == {}
    page.click("Take a merge apart")
    page.tab_to("Take apart")
    page.press(Keys.ENTER)
    page.shows("Changed: id 7, id 2576.", "dialog:last-of-type")
    page.press(Keys.ENTER)
    assert (person_of(api, 7)["photos"], person_of(api, 2576)["photos"]) == (2, 4)
    page.click("Undo the last correction")
    page.tab_to("Undo")
    page.press(Keys.ENTER)
    page.shows("Changed:", "dialog:last-of-type")
    page.until(lambda: person_of(api, 7) == {}, "it is not undone")
    page.press(Keys.ENTER)
    page.press(Keys.ESCAPE)
    page.shows("1 person", "#view-people")


def test_a_face_that_could_be_two_offers_both_and_what_to_do(page: Page, api: httpx.Client) -> None:
    enrol(api, 7, *ARDERN[:2], name="J. Ardern")
    enrol(api, 2576, *ARDERN[2:6], name="Jacinda Ardern")
    page.open(key=KEYS["counter"])
    page.identify(ARDERN[6])
    page.shows("1 face, 0 named")
    open_face(page)
    buttons = [button.text for button in page.all(".face .inside button")]
    assert "They are one person: merge …" in buttons
    assert {"Add to Jacinda Ardern (2576)", "Add to J. Ardern (7)"} <= {*buttons}
    assert not [text for text in buttons if text.startswith("This is not")]
    two = next(text for text in buttons if text.endswith("are two people"))
    page.click("They are one person: merge …")
    page.shows("Records of one person", "dialog")
    page.press(Keys.ESCAPE)
    page.click(two)
    page.until(lambda: distinct_of(api, 7) == [2576], "the pair is not noted")

    # Two people are no likely duplicates any more.
    page.go("people")
    page.click("Likely duplicates")
    page.shows("Nobody looks like somebody else", "dialog")


def test_a_pair_that_only_looks_like_one_person_is_put_aside(page: Page, api: httpx.Client) -> None:
    enrol(api, 7, *ARDERN[:2], name="J. Ardern")
    enrol(api, 2576, *ARDERN[2:6], name="Jacinda Ardern")
    page.open("people", key=KEYS["counter"])
    page.click("Likely duplicates")
    page.shows("1 pair may be one person each", "dialog")
    page.tab_to("J. Ardern (7) and Jacinda Ardern (2576) are two people")
    page.press(Keys.ENTER)
    page.shows("Nobody looks like somebody else", "dialog")
    assert distinct_of(api, 7) == [2576]
    active = page.driver.switch_to.active_element
    assert active.find_elements(By.XPATH, "ancestor-or-self::dialog"), "the focus left the dialog"


def test_what_cannot_be_undone_is_said(page: Page, api: httpx.Client) -> None:
    enrol(api, 102, OBAMA, name="Barack Obama")
    page.open("people", key=KEYS["counter"])
    page.click("Barack Obama, id 102")
    page.click("Undo the last correction")
    page.click("Undo")
    page.until(lambda: page.text("dialog .trouble"), "nothing is said")
