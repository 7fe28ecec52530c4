"""How photos come to the page, and what it says of those that are refused or do not arrive."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import httpx
from PIL import Image
from selenium.webdriver.common.keys import Keys

from tests.console.browser import Page
from tests.console.door import Door, break_off, cut, refuse
from tests.console.people import ARDERN, DIALOG_FILES, MACRON, enrol, person_of
from tests.support.heics import FOLDER
from tests.support.images import DATA, GROUP, PORTRAIT, encode, quadrants
from tests.support.stacks import KEYS

COLLINS = DATA / "people" / "104" / "collins.jpg"
OBAMA = DATA / "people" / "102" / "obama.jpg"
HEIC = FOLDER / "two_faces.heic"  # Collins, and smaller, Obama
NOT_WHOLE = "The upload did not arrive whole, so nothing was done with it"


def broken_pictures(page: Page) -> int:
    count: int = page.driver.execute_script(
        "return [...document.images].filter((i) => !i.complete || !i.naturalWidth).length"
    )
    return count


def test_what_the_browser_cannot_show_is_identified(
    page: Page, api: httpx.Client, tmp_path: Path
) -> None:
    enrol(api, 104, COLLINS, name="Eileen Collins")
    page.open(key=KEYS["boss"])
    assert ".heic" in str(
        page.driver.execute_script("return document.querySelector('input[type=file]').accept")
    )
    page.identify(HEIC)
    page.shows("2 faces, 1 named")
    page.shows("This browser cannot show HEIC, so there is no picture here.", ".note")
    faces = api.post("/infer", files={"image": HEIC.read_bytes()}).json()["faces"]
    (x1, y1, x2, y2) = faces[0]["box"]
    line = f"{x1} to {x2} pixels from the left, {y1} to {y2} from the top"
    assert "Eileen Collins" in page.text(".face:nth-child(1)")
    assert line in page.text(".face:nth-child(1)")
    page.click_on(".face:nth-child(1) summary")
    page.shows("cannot cut one of several faces out of HEIC. Save the photo as JPEG", ".face")
    assert (page.all("img"), page.all(".box"), page.overflow()) == ([], [], 0)

    photo = tmp_path / "photo.tiff"
    with Image.open(COLLINS) as image:
        image.save(photo)
    page.identify(photo)
    page.shows("1 face, 1 named")
    page.shows("This browser cannot show TIFF", ".note")
    page.click_on(".face summary")
    page.click("Add to Eileen Collins (104)")
    page.shows("The whole photo is sent.", "dialog")
    page.click("Add")
    page.until(lambda: person_of(api, 104)["photos"] == 2, "nothing was added")
    page.until(lambda: not page.all("dialog"), "the dialog stays open")

    page.go("compare")
    page.hand_over("drop", HEIC, COLLINS)
    page.shows("The same person", ".verdict")
    page.shows("two_faces.heic: this browser cannot show HEIC.", ".slot")
    assert broken_pictures(page) == 0


def test_what_is_refused_is_said_in_plain_words(
    page: Page, api: httpx.Client, tmp_path: Path
) -> None:
    contents = {
        "names.json": b'{"7": "Ada"}',
        "text.jpg": b"a list of names",
        "half.jpg": PORTRAIT.read_bytes()[:20_000],
        "empty.jpg": b"",
        "large.jpg": PORTRAIT.read_bytes() + bytes(21 * 2**20),
        "larger.jpg": PORTRAIT.read_bytes() + bytes(65 * 2**20),
        "nobody.png": encode(quadrants(), "PNG"),
    }
    files = {name: tmp_path / name for name in contents}
    for name, content in contents.items():
        files[name].write_bytes(content)
    page.open(key=KEYS["boss"])
    for name, sentence in (
        ("names.json", "This is JSON, which is not read"),
        ("text.jpg", "This is text, which is not read"),
        ("half.jpg", "its last rows are missing"),
        ("empty.jpg", "The image is empty"),
        ("large.jpg", "The image has more than 20 MiB."),
        ("larger.jpg", "The request has more than 64 MiB."),
    ):
        page.choose(files[name])
        page.shows(sentence, ".trouble")
        assert page.all(".trouble button") == []
        assert page.all("#banner") == []
    page.identify(files["nobody.png"])
    page.shows("No face was found in this photo.", "#view-identify")
    page.identify(PORTRAIT)
    page.shows("1 face, 0 named")
    assert page.all(".trouble") == []
    assert page.text(".face .line") == "Nobody is enrolled yet"

    page.go("compare")
    page.hand_over("paste", PORTRAIT, files["half.jpg"])
    page.shows("The second photo: ", ".verdict .trouble")
    page.hand_over("drop", files["nobody.png"], PORTRAIT)
    page.shows("No face was found in the first photo.", ".verdict .trouble")
    assert "image_" not in page.text(".verdict")


def test_an_upload_that_does_not_arrive_can_be_sent_again(
    page: Page, api: httpx.Client, way: Door, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(PORTRAIT.read_bytes())
    page.open(key=KEYS["boss"])
    for fault, sentence in (
        (break_off, "The connection broke off before the answer came, though the service answers."),
        (cut, NOT_WHOLE),
        (refuse(HTTPStatus.REQUEST_TIMEOUT), NOT_WHOLE),
        (refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE), "Choose a smaller photo."),
    ):
        with way.spoiling(fault):
            page.choose(photo)
            page.shows(sentence, ".trouble")
        assert page.all("#banner") == []
        if "smaller" not in sentence:
            page.click("Try again")
            page.shows("1 face, 0 named")
    assert page.all(".trouble button") == []
    # Neither the page nor the network is at fault for a file that has gone.
    with way.spoiling(cut):
        page.choose(photo)
        page.shows("The form has no end", ".trouble .hint")
    photo.unlink()
    page.click("Try again")
    page.shows("photo.jpg cannot be read", ".trouble")

    page.go("people")
    page.click("Enrol a person")
    page.fill("Id", "5")
    page.choose(MACRON, selector=DIALOG_FILES)
    with way.spoiling(cut):
        page.click("Enrol")
        page.shows(NOT_WHOLE, "dialog .trouble")
    assert person_of(api, 5) == {}
    page.click("Try again")
    page.shows("1 of 1 photo sent, 1 used", "dialog")


def test_photos_are_dropped_and_pasted_everywhere(page: Page, api: httpx.Client) -> None:
    page.open("status", key=KEYS["boss"])
    page.hand_over("drop", PORTRAIT, MACRON)
    page.shows("1 face, 0 named")
    page.shows("Only the first of 2 files is looked at.", ".stage")
    page.go("people")
    page.hand_over("paste", GROUP)
    page.shows("4 faces, 0 named")
    page.hand_over("paste", OBAMA)
    page.shows("1 face, 0 named")
    page.hand_over("paste")
    page.shows("There is no photo in what was dropped or pasted.", ".trouble")
    page.shows("1 face, 0 named")

    page.go("compare")
    page.hand_over("paste", ARDERN[0])
    page.until(lambda: len(page.all(".slot img")) == 1, "it is not in the first place")
    page.hand_over("paste", ARDERN[1])
    page.shows("The same person", ".verdict")
    page.hand_over("drop", OBAMA, to=".slot:nth-child(1)")
    page.shows("Not the same person", ".verdict")

    page.go("people")
    page.click("Enrol a person")
    page.fill("Id", "2576")
    page.hand_over("drop", *ARDERN[:2], to="dialog form")
    page.hand_over("paste", ARDERN[2], to="dialog form")
    page.click("Enrol")
    page.shows("3 of 3 photos sent, 3 used", "dialog")
    page.until(lambda: person_of(api, 2576).get("photos") == 3, "they are not enrolled")


def test_a_photo_is_taken_by_the_camera_or_the_page_says_why_not(
    page: Page, api: httpx.Client
) -> None:
    page.open(key=KEYS["boss"])
    page.click("Take a photo")
    page.click("Take the photo")
    # The browser's made-up camera shows nobody.
    page.shows("No face was found in this photo.", "#view-identify")
    for script, sentence in (
        ("mediaDevices.getUserMedia = () => Promise.reject(new Error('no'))", "was not allowed"),
        ("mediaDevices = undefined", "only to pages that come by https"),
    ):
        page.driver.execute_script(
            "Object.defineProperty(navigator, 'mediaDevices',"
            " {value: navigator.mediaDevices, writable: true}); navigator." + script
        )
        page.click("Take a photo")
        page.shows(sentence, "dialog")
        page.press(Keys.ESCAPE)
        page.until(lambda: not page.all("dialog"), "the dialog stays open")
