"""What the chart renders is what was committed."""

from __future__ import annotations

import difflib

import pytest

from tests.chart.golden import FOLDER, KEPT, path_of, text_of
from tests.support.chart.helm import Helm
from tests.support.chart.values import VARIANTS


@pytest.mark.parametrize("variant", KEPT)
def test_the_rendering_is_the_committed_one(helm: Helm, variant: str) -> None:
    committed = path_of(variant).read_text()
    rendered = text_of(helm.template(files=[VARIANTS[variant]]))
    difference = difflib.unified_diff(
        committed.splitlines(), rendered.splitlines(), "committed", "rendered", lineterm=""
    )
    if shown := "\n".join(difference):
        pytest.fail(f"look at the difference, then run `make golden`:\n{shown}", pytrace=False)


def test_nothing_is_left_over() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(KEPT)
