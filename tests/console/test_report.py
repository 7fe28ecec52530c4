"""The page of `faces evaluate` in a real Chromium: nothing is loaded, and axe finds nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving.evaluation import plots
from serving.evaluation.distractors import Distractors
from serving.evaluation.evaluate import Asked, evaluate
from serving.evaluation.groups import Groups
from serving.evaluation.html_report import page as page_of
from serving.settings import MatchSettings
from serving.vision.records import Quality
from tests.console.browser import Page, chromium
from tests.support.samples import crowd
from tests.support.stages import CARD

SIZES = [(1280, 900), (360, 740)]


@pytest.fixture(scope="module")
def report(_browser: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all of its tables and plots."""
    quality = [Quality(100.0 + n, 0.1, 0.9 + n / 1000, 5.0, 0.1, 0.4) for n in range(120)]
    sample = replace(crowd(24, 5, spread=0.8), quality=quality)
    groups = Groups({"site": {str(p): ("north", "south <b>")[p % 2] for p in range(24)}})
    nobody = Distractors(np.empty((0, 0), np.float16), 0)
    made = evaluate(sample, CARD, MatchSettings(), nobody, Asked(5, 20), groups=groups)
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page_of(made[0], plots.plots(*made)))
    return path


@pytest.fixture
def shown(report: Path, tmp_path: Path) -> Iterator[Page]:
    with chromium(tmp_path / "profile") as driver:
        page = Page(driver, report.as_uri())
        driver.get(report.as_uri())
        yield page


def test_it_is_readable_for_everybody(shown: Page, axe: Path) -> None:
    wrong = {}
    for width, height in SIZES:
        shown.size(width, height)
        wrong[width] = shown.violations(axe)
    assert wrong == {width: [] for width, _ in SIZES}


def test_it_fits_a_phone(shown: Page) -> None:
    for width, height in SIZES:
        shown.size(width, height)
        script = "return document.documentElement.scrollWidth"
        assert shown.driver.execute_script(script) <= width


def test_nothing_is_loaded(shown: Page) -> None:
    script = "return JSON.stringify(performance.getEntriesByType('resource').map((e) => e.name))"
    assert json.loads(shown.driver.execute_script(script)) == []
    log = shown.driver.get_log("browser")  # type: ignore[no-untyped-call]
    assert [line["message"] for line in log] == []
