"""The pictures of the page in ``docs/``, from the photos in ``data/``, on a stack of their own.

python -m tests.console.screenshots --out docs
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image

from serving.client import Client
from serving.operations.folders import people_in
from serving.stack.config import StackSettings
from serving.stack.run import running
from tests.console.browser import Page, chromium
from tests.support.images import DATA, GROUP

_PORT = 17500
# Somebody in the group has to be a stranger.
_STRANGER = 104
_TALL, _DESKTOP, _PHONE = (1200, 1000), (1200, 640), (390, 800)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder for the pictures")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as scratch:
        settings = StackSettings(folder=Path(scratch, "run"), port=_PORT)
        with running(settings), chromium(Path(scratch, "profile")) as driver:
            _enrol(Client(settings.url))
            page = Page(driver, settings.url)
            page.size(*_TALL)
            page.open()
            page.identify(GROUP)
            page.all(".face summary")[-1].click()
            page.driver.execute_script("scrollTo(0, 0)")
            _save(page, out / "console-identify.png")
            page.size(*_DESKTOP)
            page.go("people")
            page.shows("4 people", "#view-people")
            _save(page, out / "console-people.png")
            page.size(*_PHONE)
            page.colours("dark")
            page.go("identify")
            page.driver.execute_script("scrollTo(0, 0)")
            _save(page, out / "console-phone.png")


def _enrol(client: Client) -> None:
    names = DATA / "names.json"
    folders = (DATA / "2576", DATA / "people")
    for person in (p for folder in folders for p in people_in(folder, names).people):
        if person.id != _STRANGER:
            client.generate(person.id, person.photos, name=person.name)


def _save(page: Page, path: Path) -> None:
    """Few colours: a picture in a README has to be small."""
    page.driver.execute_script("document.activeElement.blur()")
    with Image.open(io.BytesIO(page.driver.get_screenshot_as_png())) as shot:
        shot.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
