"""The page in a real browser, on the real stack: what its readers do, by clicks and keys."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageFilter
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.console.browser import Page, drawn_box
from tests.console.door import Door
from tests.console.people import ARDERN, DIALOG_FILES, MACRON, enrol, person_of
from tests.support.images import DATA, GROUP, PORTRAIT
from tests.support.stacks import KEYS, Stack

OBAMA = DATA / "people" / "102" / "obama.jpg"
COLLINS = DATA / "people" / "104" / "collins.jpg"
NO_PHOTO = DATA / "names.json"
HOSTILE = "<img src=x onerror=document.title='pwned'><b>Bobby</b>"
LONGEST_ID = 2**63 - 1


def open_face(page: Page, index: int) -> None:
    summary = page.all(".face summary")[index]
    if summary.find_element(By.XPATH, "..").get_attribute("open") is None:
        summary.click()


def face_of(page: Page, name: str) -> int:
    """Which of the faces is called so."""
    names = [e.text for e in page.all(".face .who")]
    assert names.count(name) == 1, names
    return names.index(name)


def test_a_stranger_is_enrolled_from_files_and_then_known(page: Page, api: httpx.Client) -> None:
    enrol(api, 101, MACRON, name="Emmanuel Macron")
    page.open(key=KEYS["boss"])
    page.identify(PORTRAIT)
    page.shows("1 face, 0 named")
    assert page.text(".face .who") == "Unknown"
    assert "nearest is Emmanuel Macron" in page.text(".face .line")
    stranger = page.style(".box", "border-top-style"), page.style(".face", "border-left-style")
    assert stranger == ("dashed", "dashed")

    page.go("people")
    page.click("Enrol a person")
    page.shows("Enrol a new person", "dialog")
    page.fill("Id", "2576")
    page.fill("Name", "Jacinda Ardern")
    page.choose(*ARDERN, NO_PHOTO, selector=DIALOG_FILES)
    page.click("Enrol")
    page.shows("26 of 26 photos sent, 25 used", "dialog")
    assert "names.json was not used. This is JSON" in page.text("dialog .unused")
    page.click("Close")
    page.shows("2 people", "#view-people")
    assert page.text(".people .id").split() == ["101", "2576"]
    assert page.text(".people .name").split("\n") == ["Emmanuel Macron", "Jacinda Ardern"]
    assert page.text(".people .photos").split() == ["1", "25"]
    assert person_of(api, 2576)["photos"] == 25

    page.go("identify")
    page.identify(PORTRAIT)
    page.shows("1 face, 1 named")
    assert page.text(".face .who") == "Jacinda Ardern"
    assert "id 2576, similarity 0.8" in page.text(".face .line")
    assert re.search(r"confidence (> )?99\.\d+ %", page.text(".face .line"))
    assert page.text(".box .label") == "1 Jacinda Ardern"
    known = page.style(".box", "border-top-style"), page.style(".face", "border-left-style")
    assert known == ("solid", "solid")
    told = api.post("/infer", files={"image": PORTRAIT.read_bytes()}).json()
    assert drawn_box(page, 0) == pytest.approx(told["faces"][0]["box"], abs=8)
    assert f"model {told['model']}" in page.text("#view-identify")
    assert "detect" in page.text("#view-identify")


def test_the_threshold_shows_at_once_who_would_be_named(page: Page, api: httpx.Client) -> None:
    enrol(api, 2576, *ARDERN[:3], name="Jacinda Ardern")
    enrol(api, 102, OBAMA, name="Barack Obama")
    page.open(key=KEYS["counter"])  # who may not enrol does not learn who is nearest
    page.identify(GROUP)
    page.shows("4 faces, 2 named")
    told = api.post("/infer", files={"image": GROUP.read_bytes()}).json()
    slider = page.one("#threshold")
    assert float(str(slider.get_attribute("value"))) == round(told["threshold"], 2)  # its step

    slider.send_keys(Keys.END)
    page.shows("4 faces, 0 would be named")
    assert page.text(".face .who").split("\n") == ["Unknown"] * 4
    slider.send_keys(Keys.HOME)
    page.shows("4 faces, 4 would be named")
    page.click(f"Back to {told['threshold']:.2f}")
    page.shows("4 faces, 2 named")

    # The nearest candidates of a stranger are there to see.
    unknown = [e.text for e in page.all(".face .who")].index("Unknown")
    open_face(page, unknown)
    candidates = page.all(".face")[unknown].find_elements(By.CSS_SELECTOR, "td:nth-child(2)")
    assert {c.text for c in candidates} == {"2576", "102"}


def test_a_face_of_a_group_is_enrolled_and_no_other(page: Page, api: httpx.Client) -> None:
    enrol(api, 2576, *ARDERN[:3], name="Jacinda Ardern")
    enrol(api, 101, MACRON, name="Emmanuel Macron")
    enrol(api, 102, OBAMA, name="Barack Obama")
    page.open(key=KEYS["counter"])
    page.identify(GROUP)
    page.shows("4 faces, 3 named")
    # The smallest of them; its neighbours are larger.
    unknown = face_of(page, "Unknown")
    open_face(page, unknown)
    page.click("Enrol as a new person")
    page.shows("This part of the photo is sent and nothing else", "dialog")
    page.until(lambda: page.field("Id").get_attribute("value") == "4", "no free id is proposed")
    page.fill("Name", "Eileen Collins")
    page.click("Enrol")
    page.shows("4 faces, 4 named")
    assert face_of(page, "Eileen Collins") == unknown
    (face,) = api.post("/infer", files={"image": COLLINS.read_bytes()}).json()["faces"]
    assert (face["id"], face["name"]) == (4, "Eileen Collins")

    # Another photo of somebody who is known already.
    open_face(page, face_of(page, "Barack Obama"))
    page.click("Add to Barack Obama (102)")
    page.click("Add")
    page.until(lambda: person_of(api, 102)["photos"] == 2, "nothing was added")
    page.until(lambda: not page.all("dialog"), "the dialog stays open")


def test_an_id_that_is_taken_is_never_overwritten_by_somebody_new(
    page: Page, api: httpx.Client
) -> None:
    enrol(api, 101, MACRON, name="Emmanuel Macron")
    page.open("people", key=KEYS["boss"])
    page.click("Enrol a person")
    page.fill("Id", "0101")
    page.shows("Emmanuel Macron (101) is enrolled with 1 photo", "dialog")
    page.choose(OBAMA, selector=DIALOG_FILES)
    page.click("Enrol")
    page.shows("Choose another id", "dialog")
    assert person_of(api, 101)["photos"] == 1
    (face,) = api.post("/infer", files={"image": OBAMA.read_bytes()}).json()["faces"]
    assert face["id"] is None


def test_photos_are_added_to_a_person_or_replace_the_others(page: Page, api: httpx.Client) -> None:
    enrol(api, 2576, *ARDERN[:3], name="Jacinda Ardern")
    page.open("people", key=KEYS["boss"])
    page.click("Jacinda Ardern, id 2576")
    page.click("Add photos")
    page.choose(*ARDERN[3:13], selector=DIALOG_FILES)
    page.click("Add")
    page.shows("10 of 10 photos sent, 10 used", "dialog")
    page.click("Close")
    page.shows("13 photos, since", "dialog")
    page.click("Add photos")
    page.choose(*ARDERN[:10], selector=DIALOG_FILES)
    page.field("Replace the photos that are enrolled").click()
    page.click("Add")
    page.shows("10 of 10 photos sent, 10 used", "dialog")
    assert person_of(api, 2576)["photos"] == 10
    assert person_of(api, 2576)["name"] == "Jacinda Ardern"


def test_a_person_is_renamed_and_described(page: Page, api: httpx.Client) -> None:
    enrol(api, LONGEST_ID, COLLINS)
    page.open("people", key=KEYS["counter"])
    page.click(f"No name, id {LONGEST_ID}")
    page.fill("Name", "Eileen Collins")
    page.fill("Metadata", "[1]")
    page.click("Save")
    page.shows("what is written there is none", "dialog")
    # What JavaScript would keep without a word, the API refuses.
    page.fill("Metadata", '{"desk": 1, "desk": 2}')
    page.click("Save")
    page.shows("given twice", "dialog")
    page.fill("Metadata", f'{{"badge": {LONGEST_ID}, "desk": "4th floor"}}')
    page.click("Save")
    page.until(lambda: person_of(api, LONGEST_ID)["name"] == "Eileen Collins", "it is not saved")
    # No digit of a number that is too long for JavaScript is lost, however often it is saved.
    page.fill("Name", "Colonel Collins")
    page.click("Save")
    page.until(lambda: person_of(api, LONGEST_ID)["name"] == "Colonel Collins", "it is not saved")
    assert person_of(api, LONGEST_ID)["metadata"] == {"badge": LONGEST_ID, "desk": "4th floor"}
    # Who may not delete is told so, and is not offered it.
    assert "it needs the scope admin" in page.text("dialog")
    assert "Delete" not in [b.text for b in page.all("dialog button")]


def test_records_are_merged_and_deleted(page: Page, api: httpx.Client) -> None:
    enrol(api, 2576, *ARDERN[:2], name="Jacinda Ardern")
    enrol(api, LONGEST_ID, *ARDERN[2:5], name="J. Ardern")
    enrol(api, 102, OBAMA, name="Barack Obama")
    page.open("people", key=KEYS["boss"])
    for name in ("Jacinda Ardern (id 2576)", f"J. Ardern (id {LONGEST_ID})"):
        page.field(f"Choose {name}").click()
    page.click("Merge 2 people")
    page.shows("Jacinda Ardern (2576) stays, with 5 photos", "dialog")
    page.shows(f"J. Ardern ({LONGEST_ID}) will be gone", "dialog")
    rows = [r.text.split()[-1] for r in page.all("dialog tbody tr")]
    assert rows == ["2", "3"]
    page.click("Merge")
    page.shows("2 people", "#view-people .hint")
    assert person_of(api, 2576)["photos"] == 5
    assert person_of(api, LONGEST_ID) == {}

    page.click("Barack Obama, id 102")
    page.click("Merge with another record")
    page.fill("Id of another record", "77")
    page.click("Add")
    page.shows("Nobody is enrolled under the id 77.", "dialog")
    page.press(Keys.ESCAPE)
    page.click("Delete")
    page.shows("Delete Barack Obama (102)?", "dialog")
    page.click("Cancel")
    assert person_of(api, 102)
    page.click("Delete")
    page.shows("Delete Barack Obama (102)?", "dialog")
    page.click("Delete")
    page.shows("1 person", "#view-people")
    assert person_of(api, 102) == {}


def test_an_erasure_has_a_receipt(page: Page, api: httpx.Client) -> None:
    enrol(api, 2576, *ARDERN[:4], name="Jacinda Ardern")
    page.open("people", key=KEYS["boss"])
    page.click("Jacinda Ardern, id 2576")
    page.click("Erase")
    page.shows("This cannot be undone", "dialog")
    assert not page.named("Erase").is_enabled()
    page.fill("To confirm, type 2576", "2576")
    page.click("Erase")
    page.shows("4 embeddings of id 2576 were removed", "dialog")
    for objects in page.all("dialog details:not([open]) summary"):
        objects.click()
    # What held the four photos is gone from the bucket.
    assert re.search(r"^[0-9a-f]{32}$", page.text("dialog .path"), re.MULTILINE)
    assert page.named("Save the receipt").get_attribute("download") == "erasure-2576.json"
    page.click("Close")
    page.shows("Nobody is enrolled in this collection yet.", "#view-people")

    # Deleted is not erased: what is left of somebody can still be erased by the id.
    enrol(api, 7, OBAMA)
    api.delete("/identities/7").raise_for_status()
    page.click("Erase somebody who was deleted before")
    page.fill("Id", "7")
    page.click("Go on")
    page.fill("To confirm, type 7", "7")
    page.click("Erase")
    page.shows("Receipt of the erasure", "dialog")


def test_a_retention_is_set_and_a_consent_is_withdrawn(
    page: Page, api: httpx.Client, axe: Path
) -> None:
    enrol(api, 2576, *ARDERN[:2], name="Jacinda Ardern")
    page.open("people", key=KEYS["boss"])
    page.click("Jacinda Ardern, id 2576")
    page.driver.execute_script("arguments[0].value = '2099-01-31'", page.field("Keep until"))
    page.field("Legal basis").send_keys("Consent")
    page.fill("Reference", "form 12")
    page.fill("Version of the text", "3")
    page.click("Save")
    page.until(lambda: person_of(api, 2576)["legal_basis"] is not None, "it is not saved")
    saved = person_of(api, 2576)
    assert saved["expires_at"][:10] in ("2099-01-31", "2099-02-01")  # by the browser's zone
    basis = {k: v for k, v in saved["legal_basis"].items() if v is not None}
    assert basis == {"kind": "consent", "reference": "form 12", "text_version": "3"}
    page.until(
        lambda: page.field("Keep until").get_property("value") == "2099-01-31", "not read back"
    )
    assert page.violations(axe) == []
    page.press(Keys.ESCAPE)
    page.shows("until", "#view-people .kept")
    page.click("Jacinda Ardern, id 2576")
    page.click("Consent withdrawn")
    page.shows("Jacinda Ardern (2576) has withdrawn the consent?", "dialog")
    page.fill("To confirm, type 2576", "2576")
    page.click("Erase")
    page.shows("2 embeddings of id 2576 were removed", "dialog")
    page.click("Close")
    page.shows("Nobody is enrolled in this collection yet.", "#view-people")
    assert person_of(api, 2576) == {}


def blurred(photo: Path, folder: Path) -> Path:
    """The photo as a camera out of focus would have made it."""
    with Image.open(photo) as image:
        made = folder / "blurred.jpg"
        image.convert("RGB").filter(ImageFilter.GaussianBlur(image.width / 30)).save(made)
    return made


def test_somebody_who_is_enrolled_already_is_told_and_merged(page: Page, api: httpx.Client) -> None:
    enrol(api, LONGEST_ID, *ARDERN[:3], name=HOSTILE)
    page.open("people", key=KEYS["counter"])
    page.click("Enrol a person")
    page.fill("Id", "5")
    page.choose(*ARDERN[3:6], MACRON, selector=DIALOG_FILES)
    page.click("Enrol")
    page.shows("4 of 4 photos sent, 4 used", "dialog")
    page.shows("macron_2025.jpg seems to show somebody else", "dialog .conflicts")
    page.shows(
        f"{HOSTILE} ({LONGEST_ID}), who is enrolled already: similarity", "dialog .conflicts"
    )
    assert "100 %" not in page.text("dialog .conflicts")
    page.click(f"Merge with {HOSTILE} ({LONGEST_ID})")
    page.shows(f"{HOSTILE} ({LONGEST_ID}) stays, with 7 photos", "dialog")
    page.click("Merge")
    page.until(lambda: person_of(api, LONGEST_ID)["photos"] == 7, "they are not merged")
    page.until(lambda: not page.all("dialog"), "a dialog stays open")
    page.shows("1 person", "#view-people .hint")


def test_a_poor_photo_says_why_and_can_be_used_all_the_same(
    page: Page, api: httpx.Client, tmp_path: Path
) -> None:
    page.open("people", key=KEYS["counter"])
    page.click("Enrol a person")
    page.fill("Id", "102")
    page.choose(OBAMA, blurred(OBAMA, tmp_path), selector=DIALOG_FILES)
    page.click("Enrol")
    page.shows("2 of 2 photos sent, 1 used", "dialog")
    page.shows("blurred.jpg was not used. The face is too blurred: sharpness 0.", "dialog .unused")
    page.click("Use it all the same")
    page.shows("1 of 1 photo sent, 1 used", "dialog")
    assert person_of(api, 102)["photos"] == 2


def test_likely_duplicates_are_looked_at_and_merged(page: Page, api: httpx.Client) -> None:
    page.open("people", key=KEYS["counter"])
    page.click("Likely duplicates")
    page.shows("Nobody looks like somebody else", "dialog")
    page.press(Keys.ESCAPE)
    enrol(api, 7, *ARDERN[:2], name="J. Ardern")
    enrol(api, 2576, *ARDERN[2:6], name="Jacinda Ardern")
    enrol(api, 102, OBAMA, name="Barack Obama")
    page.go("identify")
    page.identify(ARDERN[6])
    page.shows("1 face, 0 named")
    assert {*page.text(".face .who").split(" or ")} == {"Jacinda Ardern", "J. Ardern"}
    page.shows("If they are one person, merge them.", ".face .line")
    page.go("people")
    page.tab_to("Likely duplicates")
    page.press(Keys.ENTER)
    page.shows("1 pair may be one person each", "dialog")
    cells = [c.text for c in page.all("dialog .duplicates td")]
    assert cells[:2] == ["J. Ardern id 7, 2 photos", "Jacinda Ardern id 2576, 4 photos"]
    assert re.fullmatch(r"0\.\d{3}", cells[2])
    assert cells[3] != "100 %"
    page.tab_to("Merge J. Ardern (7) and Jacinda Ardern (2576)")
    page.press(Keys.ENTER)
    page.shows("Jacinda Ardern (2576) stays, with 6 photos", "dialog")
    page.click("Merge")
    page.shows("Nobody looks like somebody else", "dialog")
    page.press(Keys.ESCAPE)
    page.shows("2 people", "#view-people .hint")
    assert person_of(api, 2576)["photos"] == 6


def test_a_hostile_name_stays_text(page: Page, api: httpx.Client) -> None:
    enrol(api, 2576, *ARDERN[:3], name=HOSTILE)
    enrol(api, 102, OBAMA, name="Barack Obama")
    metadata = {"</script><script>document.title='pwned'</script>": HOSTILE}
    api.patch("/identities/2576", json={"metadata": metadata}).raise_for_status()
    page.open(key=KEYS["boss"])
    page.identify(PORTRAIT)
    page.shows("1 face, 1 named")
    assert page.text(".face .who") == HOSTILE
    assert page.text(".box .label") == f"1 {HOSTILE}"
    open_face(page, 0)
    page.click(f"Add to {HOSTILE} (2576)")
    page.shows(f"Add to {HOSTILE} (2576)", "dialog h2")
    page.press(Keys.ESCAPE)
    page.go("people")
    page.click(f"{HOSTILE}, id 2576")
    assert page.field("Name").get_attribute("value") == HOSTILE
    assert HOSTILE in str(page.field("Metadata").get_attribute("value"))
    page.click("Merge with another record")
    page.shows(HOSTILE, "dialog table")
    page.press(Keys.ESCAPE)
    page.press(Keys.ESCAPE)
    assert page.driver.title == "People – Faces"
    assert page.driver.find_elements(By.CSS_SELECTOR, "img[src='x'], b, main script") == []


def test_the_service_goes_away_and_comes_back(page: Page, api: httpx.Client, way: Door) -> None:
    enrol(api, 2576, *ARDERN[:3], name="Jacinda Ardern")
    page.open(key=KEYS["boss"])
    page.shows("Ready", "#health")
    way.shut()
    try:
        page.shows("The service does not answer. This page tries again until it does.", "#banner")
        page.shows("No answer", "#health")
        page.choose(PORTRAIT)
        page.shows("The service does not answer. Is it running", ".trouble")
        page.go("people")
        page.shows("The service does not answer. Is it running", "#view-people .trouble")
        page.go("status")
        page.shows("It does not answer.", ".card.bad")
        page.go("identify")
    finally:
        way.open()
    # Nobody has to click anything.
    page.shows("Ready", "#health")
    page.until(lambda: not page.all("#banner"), "the banner stays")
    page.shows("1 face, 1 named")
    page.go("people")
    page.shows("1 person", "#view-people")
    assert page.all(".trouble") == []


def test_the_state_tells_what_is_missing(page: Page, stack: Stack, api: httpx.Client) -> None:
    enrol(api, 2576, *ARDERN[:3], name="Jacinda Ardern")
    page.open("status", key=KEYS["boss"])
    page.shows("Serves the model.", ".card.good")
    page.until(lambda: page.text(".facts").split()[:4] == ["People", "1", "Photos", "3"], "people")
    page.shows("median", ".plot")
    triton = next(p for p in stack.processes if "triton" in p.name.lower())
    os.killpg(triton.pid, signal.SIGSTOP)
    try:
        page.shows("Not ready", "#health")
        page.shows("Triton", ".card.bad")
    finally:
        os.killpg(triton.pid, signal.SIGCONT)
    page.shows("Ready", "#health")
    page.until(lambda: not page.all(".card.bad"), "there is still trouble")


def test_without_a_key_one_is_asked_for(page: Page, api: httpx.Client) -> None:
    page.open()
    page.shows("Send an API key", "dialog")
    page.fill("API key", "nonsense")
    page.click("Use this key")
    page.shows("This API key is not valid.", "dialog")
    page.fill("API key", KEYS["boss"])
    page.click("Use this key")
    page.until(lambda: not page.all("dialog"), "the dialog stays open")
    page.identify(PORTRAIT)
    kept = "return [localStorage.length, document.cookie, sessionStorage.getItem('faces.key')]"
    assert page.driver.execute_script(kept) == [0, "", KEYS["boss"]]
    page.click("API key: set")
    page.click("Forget the key")
    page.shows("Send an API key", "dialog")
    assert page.driver.execute_script(kept) == [0, "", None]


def test_a_key_that_may_only_identify_is_offered_only_that(page: Page, api: httpx.Client) -> None:
    enrol(api, 2576, *ARDERN[:3], name="Jacinda Ardern")
    sentence = "The key 'kiosk' may not do this: it needs the scope enrol."
    page.open(key=KEYS["kiosk"])
    page.identify(PORTRAIT)
    page.shows("1 face, 1 named")
    open_face(page, 0)
    page.shows(sentence, ".face")
    assert page.all(".face .inside button") == []
    page.go("people")
    page.shows(sentence, "#view-people")
    assert page.all("#view-people button, #view-people input") == []


def test_each_collection_is_for_itself(page: Page, api: httpx.Client) -> None:
    enrol(api, 2576, *ARDERN[:3], name="Jacinda Ardern")
    page.open("people", key=KEYS["shop"])
    page.shows("may not use the collection 'default'", "#view-people")
    collection = page.field("Collection")
    collection.send_keys("Another")
    page.fill("Name", "No Shop")
    page.click("Use it")
    page.shows("small letters, digits and dashes", "dialog")
    page.fill("Name", "shop")
    page.click("Use it")
    page.shows("Nobody is enrolled in this collection yet.", "#view-people")
    page.click("Enrol a person")
    page.fill("Id", "102")
    page.choose(OBAMA, selector=DIALOG_FILES)
    page.click("Enrol")
    page.shows("1 of 1 photo sent, 1 used", "dialog")
    page.click("Close")
    page.shows("1 person", "#view-people")
    assert person_of(api, 102, "/collections/shop")["photos"] == 1
    assert person_of(api, 102) == {}
    # This key may delete in its own collection, although it may not list all of them.
    page.click("No name, id 102")
    page.click("Delete")
    page.shows("Delete id 102?", "dialog")
    page.click("Delete")
    page.shows("Nobody is enrolled in this collection yet.", "#view-people")

    page.open("people", key=KEYS["boss"])
    page.until(
        lambda: "shop" in page.field("Collection").text.split(), "the collections are not listed"
    )


def test_two_photos_are_compared(page: Page, api: httpx.Client, tmp_path: Path) -> None:
    page.open("compare", key=KEYS["kiosk"])
    first, second = (f"section.slot:nth-child({n}) input[type=file]" for n in (1, 2))
    page.choose(PORTRAIT, selector=first)
    page.choose(ARDERN[0], selector=second)
    page.shows("The same person", ".verdict")
    files = {"image_a": PORTRAIT.read_bytes(), "image_b": ARDERN[0].read_bytes()}
    told = api.post("/verify", files=files).json()
    page.shows(f"Similarity {told['similarity']:.2f}, confidence 9", ".verdict")
    page.choose(OBAMA, selector=second)
    page.shows("Not the same person", ".verdict")
    mosaic = tmp_path / "mosaic.png"
    with Image.open(PORTRAIT) as image:
        small = image.convert("RGB").resize((image.width // 30, image.height // 30))
        small.resize(image.size, Image.Resampling.NEAREST).save(mosaic)
    page.choose(mosaic, selector=second)
    page.shows("Too poor to say", ".verdict")
    page.shows("The second photo: The face is pixelated", ".verdict")
    page.choose(NO_PHOTO, selector=first)
    page.shows("The first photo: This is JSON", ".verdict .trouble")


def test_the_list_is_paged_and_searched(page: Page, api: httpx.Client) -> None:
    enrol(api, 5000, OBAMA, name="Barack Obama")
    embedding = {"embeddings": [[1.0] + [0.0] * 511], "model": person_of(api, 5000)["model"]}
    for person in range(120):
        api.post(f"/identities/{person}/embeddings", json=embedding).raise_for_status()
    page.open("people", key=KEYS["boss"])
    page.shows("121 people; 100 are loaded", "#view-people")
    search = page.field("Search by id or name")
    # An id that is not loaded is asked for.
    search.send_keys("5000")
    page.shows("Barack Obama", ".people")
    search.clear()
    search.send_keys("11")
    page.until(lambda: len(page.all(".people tbody tr")) == 1, "others are shown, too")
    page.click("Load more")
    page.until(lambda: len(page.all(".people tbody tr")) == 11, "not all are loaded")
    assert page.all("#view-people > div > .actions button") == []
    search.clear()
    search.send_keys("oBa")
    page.until(lambda: page.text(".people .id") == "5000", "the name is not found")


def test_all_of_it_goes_by_keyboard(page: Page, api: httpx.Client) -> None:
    enrol(api, 2576, *ARDERN[:3], name="Jacinda Ardern")
    page.open(key=KEYS["boss"])
    page.reload()
    assert page.tab_to("Skip to the content")
    page.press(Keys.ENTER)
    assert page.driver.switch_to.active_element.get_attribute("id") == "main"
    page.tab_to("Choose a photo")
    page.identify(PORTRAIT)
    page.tab_to("Face 1: Jacinda Ardern.")
    page.press(Keys.ENTER)
    assert page.driver.switch_to.active_element.tag_name == "summary"
    page.shows("The nearest people", ".face")
    page.press(Keys.ENTER)
    assert page.text(".face .inside") == ""
    page.press(Keys.ENTER)
    page.tab_to("Add to Jacinda Ardern (2576)")
    page.press(Keys.ENTER)
    page.shows("This part of the photo is sent", "dialog")
    assert page.driver.switch_to.active_element.text == "Add"
    page.press(Keys.ENTER)
    page.until(lambda: person_of(api, 2576)["photos"] == 4, "the face is not added")
    page.until(lambda: not page.all("dialog"), "the dialog stays open")

    page.reload()
    page.tab_to("People")
    page.press(Keys.ENTER)
    page.tab_to("Search by id or name")
    page.press("jac")
    page.tab_to("Jacinda Ardern, id 2576")
    page.press(Keys.ENTER)
    page.tab_to("Name")
    page.press("Dame Jacinda", Keys.ENTER)  # Tab has chosen what was in it
    page.until(lambda: person_of(api, 2576)["name"] == "Dame Jacinda", "it is not saved")
    page.press(Keys.ESCAPE)
    page.shows("Dame Jacinda", ".people")
    assert page.driver.switch_to.active_element.text == "Dame Jacinda"  # and not lost
    page.press(Keys.ENTER)
    page.tab_to("Delete")
    page.press(Keys.ENTER)
    page.shows("Delete Dame Jacinda (2576)?", "dialog")
    # A key too many does not delete anybody: the focus is on the way out.
    page.press(Keys.ENTER)
    assert person_of(api, 2576)
    page.press(Keys.ENTER)
    page.shows("Delete Dame Jacinda (2576)?", "dialog")
    page.tab_to("Delete")
    page.press(Keys.ENTER)
    page.until(lambda: person_of(api, 2576) == {}, "nobody is deleted")
    page.until(
        lambda: page.driver.switch_to.active_element.get_attribute("id") == "people-search",
        "the focus is lost with the person",
    )


def shown_in_turn(page: Page) -> Iterator[str]:
    """Go through the views and dialogs with somebody enrolled; yields what is shown now."""
    page.shows("Choose a photo")
    yield "nothing chosen"
    page.identify(GROUP)
    yield "four faces"
    open_face(page, 0)
    open_face(page, 1)
    yield "candidates"
    page.click("Enrol as a new person")
    page.until(lambda: page.field("Id").get_attribute("value"), "no free id is proposed")
    yield "enrol a face"
    page.press(Keys.ESCAPE)
    page.choose(NO_PHOTO)
    page.shows("This is JSON, which is not read", ".trouble")
    yield "an error"
    page.click("API key: set")
    yield "the key"
    page.press(Keys.ESCAPE)
    page.go("compare")
    page.choose(PORTRAIT, selector="section.slot:nth-child(1) input[type=file]")
    page.choose(ARDERN[0], selector="section.slot:nth-child(2) input[type=file]")
    page.shows("The same person", ".verdict")
    yield "compare"
    page.go("people")
    page.shows("1 person", "#view-people")
    yield "people"
    page.click("Enrol a person")
    yield "enrol from files"
    page.until(lambda: page.field("Id").get_attribute("value"), "no free id is proposed")
    page.choose(*ARDERN[:2], MACRON, NO_PHOTO, selector=DIALOG_FILES)
    page.click("Enrol")
    page.shows("who is enrolled already", "dialog .conflicts")
    yield "conflicts"
    page.click("Close")
    page.shows("2 people", "#view-people")
    page.click("Likely duplicates")
    page.shows("1 pair may be", "dialog")
    yield "duplicates"
    page.press(Keys.ESCAPE)
    page.click_on(".people .link")
    page.shows("since", "dialog")
    yield "a person"
    page.click("Merge with another record")
    yield "merge"
    page.press(Keys.ESCAPE)
    page.click("Erase")
    yield "erase"
    page.press(Keys.ESCAPE)
    page.press(Keys.ESCAPE)
    page.click_on(".people .link")
    page.click("A photo shows somebody else")
    page.shows("the least like the others first", "dialog:last-of-type")
    yield "photos"
    page.click("Move …")
    page.shows("Whose is photo 1?", "dialog:last-of-type")
    yield "move"
    page.press(Keys.ESCAPE)
    page.press(Keys.ESCAPE)
    page.press(Keys.ESCAPE)
    page.go("identify")
    page.identify(ARDERN[6])
    page.shows("1 face")
    open_face(page, 0)
    page.until(lambda: page.all(".face .inside button"), "nothing can be corrected")
    yield "corrections of a name"
    page.go("audit")
    page.until(lambda: page.all(".audit tbody tr"), "the audit has no record")
    page.all(".audit summary")[0].click()
    page.click("Check that nothing is missing or changed")
    page.shows("chain", "#view-audit .note")
    yield "audit"
    page.go("status")
    page.shows("Serves the model.", ".card")
    yield "status"


def test_every_view_fits_every_screen_and_can_be_used_by_everybody(
    page: Page, api: httpx.Client, axe: Path
) -> None:
    """No view scrolls sideways on a narrow screen, and none breaks a rule of accessibility, in
    light or dark colours."""
    enrol(api, LONGEST_ID, *ARDERN[:3], name="W" * 200)
    page.open(key=KEYS["boss"])
    wrong: dict[tuple[object, ...], list[object]] = {}
    for name in shown_in_turn(page):
        for width in (1280, 768, 360):  # the last is where the next click is done
            page.size(width, 800)
            wrong[name, width, "pixels too wide"] = [*too_wide(page, width)]
            for scheme in ("light", "dark") if width != 768 else ():
                page.colours(scheme)
                wrong[name, width, scheme] = [*page.violations(axe)]
    assert {where: what for where, what in wrong.items() if what} == {}


def too_wide(page: Page, width: int) -> list[int]:
    """By how many pixels the page, and each dialog, is wider than the window or than itself."""
    wide = "return arguments[0].scrollWidth - arguments[0].clientWidth"
    found = [page.overflow()]
    for dialog in page.all("dialog"):
        found += [dialog.size["width"] - width, page.driver.execute_script(wide, dialog)]
    return [pixels for pixels in found if pixels > 0]


def test_the_description_of_the_api_can_be_tried(page: Page) -> None:
    """Under a policy that lets it load nothing from elsewhere; the fixture looks for complaints."""
    page.driver.get(f"{page.url}/docs")
    page.shows("Face identification")
    page.click_on("[id*=healthz] .opblock-summary-control")
    page.click_on("[id*=healthz] .try-out__btn")
    page.click_on("[id*=healthz] .execute")
    page.shows('"status": "ok"', "[id*=healthz] .live-responses-table")
