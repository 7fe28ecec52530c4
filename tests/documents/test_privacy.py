"""docs/privacy.md: each fact about the data names a test, and that test is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "privacy.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))
# What is not in the software's hands.
_UNCHECKED = {"exports and backups"}


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_it_names_is_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_fact_names_one() -> None:
    checked = [table for table in TEXT.split("\n\n") if "| checked by |" in table]
    rows = [row.strip("| ").split(" | ") for table in checked for row in table.split("\n")[2:]]
    without = {what for what, *_, proof in rows if "::" not in proof}
    assert len(rows) > 10
    assert without == _UNCHECKED
