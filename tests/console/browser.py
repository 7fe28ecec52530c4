"""A real Chromium, headless, and what a reader does with the page in it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from mimetypes import guess_type
from pathlib import Path
from typing import TypeVar

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.console import tools

T = TypeVar("T")

# A stack on a busy machine.
PATIENCE_SECONDS = 60
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--lang=en-GB",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


@contextmanager
def chromium(profile: Path, width: int = 1280, height: int = 900) -> Iterator[webdriver.Chrome]:
    """A browser of its own, with the empty folder ``profile``. Raises ToolError."""
    options = webdriver.ChromeOptions()
    options.binary_location = tools.chromium()
    for option in (*_OPTIONS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(tools.chromedriver()))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """The page at ``url``, as its reader sees it. Elements are found by the words they show."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    # -- looking

    def text(self, selector: str = "body") -> str:
        """What is shown in all elements of the selector; empty when there is none."""
        found: str = self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])]"
            ".filter((e) => e.checkVisibility()).map((e) => e.innerText).join('\\n')",
            selector,
        )
        return found

    def until(self, look: Callable[[], T | None], told: str) -> T:
        """The first true value of ``look``; AssertionError after a while."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if value := look():
                    return value
            except StaleElementReferenceException:
                pass  # drawn anew meanwhile
            assert time.monotonic() < end, f"{told}; the page shows:\n{self.text()}"
            time.sleep(0.05)

    def shows(self, words: str, selector: str = "body") -> None:
        """Wait until the words are shown."""
        self.until(lambda: words in self.text(selector), f"{words!r} is not shown in {selector}")

    def all(self, selector: str) -> list[WebElement]:
        found: list[WebElement] = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return [e for e in found if e.is_displayed()]

    def one(self, selector: str) -> WebElement:
        return self.until(lambda: self.all(selector), f"there is no {selector}")[0]

    def named(self, words: str, selector: str = "button, a, summary") -> WebElement:
        """What can be clicked and says these words; in the dialog, when one is open."""

        def look() -> WebElement | None:
            dialogs = self.driver.find_elements(By.CSS_SELECTOR, "dialog[open]")
            root = dialogs[-1] if dialogs else self.driver
            found = root.find_elements(By.CSS_SELECTOR, selector)
            shown = [e for e in found if e.is_displayed()]
            fitting = [e for e in shown if words in (_words(e.text), e.get_attribute("aria-label"))]
            return fitting[0] if fitting else None

        return self.until(look, f"nothing to click says {words!r}")

    def field(self, label: str) -> WebElement:
        """The field with this label, by what the browser tells a screen reader."""

        def look() -> WebElement | None:
            for element in self.driver.find_elements(By.CSS_SELECTOR, "input, textarea, select"):
                if element.is_displayed() and _words(element.accessible_name) == label:
                    return element
            return None

        return self.until(look, f"there is no field {label!r}")

    def style(self, selector: str, name: str) -> str:
        return str(self.one(selector).value_of_css_property(name))

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        wide: int = self.driver.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wide

    def hosts(self) -> set[str]:
        """Where everything was loaded from since the page was opened."""
        found = self.driver.execute_script(
            "return performance.getEntriesByType('resource').map((e) => new URL(e.name).origin)"
        )
        return set(found)

    def complaints(self) -> list[str]:
        """What the browser's console says of scripts and of the policy. Answers that are errors
        are told there, too; they belong to the tests."""
        log = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [e["message"] for e in log if e["source"] not in ("network", "recommendation")]

    # -- doing

    def open(self, view: str = "identify", key: str | None = None) -> None:
        """Open the page anew, in a tab that knows this key."""
        self.driver.get(f"{self.url}/#{view}")
        if key is not None:
            self.driver.execute_script("sessionStorage.setItem('faces.key', arguments[0])", key)
            self.driver.refresh()
        self.until(lambda: self.all(f"#view-{view}"), f"{view} is not shown")

    def reload(self) -> None:
        """Load the page anew, and wait until it asks for nothing more: what it learns makes it draw
        some of itself again, and the focus goes with what is drawn again."""
        self.driver.refresh()

        def asks_no_more() -> bool:
            asked = "return performance.getEntriesByType('resource').length"
            before = self.driver.execute_script(asked)
            time.sleep(0.5)
            return bool(before and before == self.driver.execute_script(asked))

        self.until(asks_no_more, "the page goes on loading")

    def go(self, view: str) -> None:
        self.click(view.capitalize(), "nav a")
        self.until(lambda: self.all(f"#view-{view}"), f"{view} is not shown")

    def click(self, words: str, selector: str = "button, a, summary") -> None:
        self._click(lambda: self.named(words, selector), repr(words))

    def click_on(self, selector: str) -> None:
        """Click the first that is shown of the selector."""
        self._click(lambda: self.one(selector), selector)

    def _click(self, look: Callable[[], WebElement], told: str) -> None:
        def done() -> bool:
            # Looked up anew in each try: the page may draw it anew between two looks.
            element = look()
            if not element.is_enabled():
                return False
            element.click()
            return True

        self.until(done, f"{told} cannot be clicked")

    def fill(self, label: str, text: str) -> None:
        field = self.field(label)
        # The page proposes ids until the field has the focus, which clearing an empty one does not
        # give it: a proposal would come between, and the text behind it.
        self.driver.execute_script("arguments[0].focus()", field)
        field.clear()
        field.send_keys(text)
        assert field.get_property("value") == text

    def choose(self, *files: Path, selector: str = "#view-identify > input[type=file]") -> None:
        """Give files to the file field."""
        chooser = self.until(
            lambda: self.driver.find_elements(By.CSS_SELECTOR, selector), f"no {selector}"
        )
        chooser[0].send_keys("\n".join(str(f) for f in files))

    def identify(self, photo: Path) -> None:
        """Choose a photo and wait for the answer."""
        self.choose(photo)
        self.shows("Answered in", "#view-identify")

    def hand_over(self, event: str, *files: Path, to: str = "body") -> None:
        """Drop or paste files, or without any a text: the event that the browser makes of it."""
        self.driver.execute_script(
            """
            const [name, to, files] = arguments;
            const data = new DataTransfer();
            for (const [called, type, text] of files) {
              const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
              data.items.add(new File([bytes], called, { type }));
            }
            if (!files.length) data.setData('text/plain', 'a text');
            const bubbles = { bubbles: true, cancelable: true };
            document.querySelector(to).dispatchEvent(name === 'drop'
              ? new DragEvent('drop', { ...bubbles, dataTransfer: data })
              : new ClipboardEvent('paste', { ...bubbles, clipboardData: data }));
            """,
            event,
            to,
            [
                (f.name, guess_type(f)[0] or "", base64.b64encode(f.read_bytes()).decode())
                for f in files
            ],
        )

    def press(self, *keys: str) -> None:
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def tab_to(self, words: str) -> WebElement:
        """Press Tab until what has the focus is called so."""
        seen: list[str] = []
        for _ in range(60):
            self.press(Keys.TAB)
            try:
                focused = self.driver.switch_to.active_element
                name = _words(focused.accessible_name)
            except StaleElementReferenceException:
                continue  # drawn anew meanwhile
            if name.startswith(words):
                there, outline = self.driver.execute_script(
                    "const now = document.activeElement;"
                    "return [now === arguments[0], getComputedStyle(now).outlineStyle]",
                    focused,
                )
                if not there:
                    continue
                assert outline != "none", f"nobody sees that {name!r} has the focus"
                return focused
            seen.append(name)
        raise AssertionError(f"Tab never comes to {words!r}, but to {seen}")

    # -- settings of the browser

    def size(self, width: int, height: int) -> None:
        """Of the window's inside, in CSS pixels, as on a phone."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def colours(self, scheme: str) -> None:
        """Those that the reader prefers: light or dark."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def violations(self, axe: Path) -> list[str]:
        """What axe-core finds on the page as it is now, one line each; no colour half way between
        two counts."""
        self.driver.execute_script(axe.read_text())
        found = self.driver.execute_async_script(
            "const done = arguments[0];"
            "const still = document.getAnimations().map((a) => a.finished.catch(() => null));"
            "Promise.all(still).then(() => axe.run(document, {resultTypes: ['violations']}))"
            ".then((r) => done(JSON.stringify(r.violations)), (e) => done(String(e)))"
        )
        return [
            f"{v['id']}: {v['help']}: {[n['html'] for n in v['nodes']][:3]}"
            for v in json.loads(found)
        ]


def _words(text: str) -> str:
    return " ".join(text.split())


def drawn_box(page: Page, index: int) -> Sequence[float]:
    """Where a face's box is drawn, in pixels of the photo."""
    box: list[float] = page.driver.execute_script(
        """
        const image = document.querySelector('.frame img');
        const [frame, box] = [image, document.querySelectorAll('.box')[arguments[0]]]
          .map((e) => e.getBoundingClientRect());
        const scale = image.naturalWidth / frame.width;
        return [box.left - frame.left, box.top - frame.top, box.right - frame.left,
          box.bottom - frame.top].map((v) => v * scale);
        """,
        index,
    )
    return box
